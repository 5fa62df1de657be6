// SPDX-License-Identifier: MIT

package p2p_test

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// exchanges are what a coordinator has with a node, by whether they may be repeated.
var exchanges = map[string]struct {
	run    func(t *testing.T, r *route) error
	repeat bool
}{
	"status": {func(t *testing.T, r *route) error {
		_, _, err := r.coordinator.Status(t.Context(), r.hosts[0].AddrInfo())
		return err
	}, true},
	"manifest": {func(t *testing.T, r *route) error {
		got, err := r.coordinator.FetchManifest(t.Context(), r.hosts[0].ID(), r.nodes[0].model())
		if err == nil && string(got) != string(r.nodes[0].manifest) {
			err = fmt.Errorf("manifest %q", got)
		}
		return err
	}, true},
	"session": {func(t *testing.T, r *route) error {
		o := r.request(protocol.PathDirect)
		hop, err := r.coordinator.OpenHop(t.Context(), o.Route[0], o)
		if err == nil {
			hop.Close()
		}
		return err
	}, false},
}

// restart kills node 0 of the route and starts it again at its address, with its key; nobody hears a goodbye. The caller closes it.
func (r *route) restart(t *testing.T, sim *testnet.Sim) *p2p.Host {
	t.Helper()
	old := r.hosts[0]
	sim.Cut(1, true)
	key := old.Libp2p().Peerstore().PrivKey(old.ID())
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	listen, options := sim.Replug(1)
	again, err := p2p.NewHost(p2p.Config{SwarmKey: keyA, Key: key, Listen: listen, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	r.hosts[0], r.nodes[0] = again, newAdder()
	again.Serve(r.nodes[0])
	return again
}

const repeated = "asking again over a new connection"

// A node that was restarted while nobody spoke with it answers the first exchange of each kind: the old connection fails to prove itself.
func TestSimRestartedAtRest(t *testing.T) {
	for name, x := range exchanges {
		t.Run(name, func(t *testing.T) {
			simRoute(t, 1, func(t *testing.T, sim *testnet.Sim, r *route) {
				if _, _, err := r.coordinator.Status(t.Context(), r.hosts[0].AddrInfo()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				defer r.restart(t, sim).Close()
				start := time.Now()
				if err := x.run(t, r); err != nil {
					t.Fatal(err)
				}
				// A stateless reset, a new connection and its admission, the exchange: 8 round trips at the most.
				if took := time.Since(start); took > 16*oneWay+20*time.Millisecond {
					t.Errorf("took %v", took)
				}
				if n := r.logs.FilterMessage(repeated).Len(); n != 0 {
					t.Errorf("asked again %d times, though the connection had to prove itself before", n)
				}
			})
		})
	}
}

// One that was restarted a moment after it had spoken is not asked for a proof. What may be repeated is, over a new connection; a session is
// not: its opening says that the peer was lost, and the next one works.
func TestSimRestartedAMomentAgo(t *testing.T) {
	for name, x := range exchanges {
		t.Run(name, func(t *testing.T) {
			simRoute(t, 1, func(t *testing.T, sim *testnet.Sim, r *route) {
				for _, name := range []string{"status", "manifest"} { // the protocols are known from now on
					if err := r.coordinator.Connect(t.Context(), r.hosts[0].AddrInfo()); err != nil {
						t.Fatal(err)
					}
					if err := exchanges[name].run(t, r); err != nil {
						t.Fatal(err)
					}
				}
				defer r.restart(t, sim).Close()
				start := time.Now()
				err, again := x.run(t, r), r.logs.FilterMessage(repeated).Len()
				if x.repeat {
					if err != nil || again != 1 {
						t.Fatalf("asked again %d times: %v", again, err)
					}
				} else {
					lostPeer(t, err, r.hosts[0], p2p.CauseGone)
					if again != 0 {
						t.Error("asked again")
					}
					err = x.run(t, r)
				}
				if err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > 18*oneWay+20*time.Millisecond {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// A node that is frozen at rest is noticed within the first deadline, and dialed in vain once; QUIC alone would wait half a minute.
// When it wakes up it is reached again at once.
func TestSimFrozenAtRest(t *testing.T) {
	for name, x := range exchanges {
		t.Run(name, func(t *testing.T) {
			simRoute(t, 1, func(t *testing.T, sim *testnet.Sim, r *route) {
				if _, _, err := r.coordinator.Status(t.Context(), r.hosts[0].AddrInfo()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				sim.Freeze(1, true)
				start := time.Now()
				err := x.run(t, r)
				if !errors.Is(err, &protocol.Error{Code: protocol.CodeUnreachable}) {
					t.Errorf("%v, want unreachable", err)
				}
				if took := time.Since(start); took < 1500*time.Millisecond || took > 3700*time.Millisecond {
					t.Errorf("noticed after %v, want 1.5 s and the dial's 2 s", took)
				}
				time.Sleep(10 * time.Second)
				sim.Freeze(1, false)
				time.Sleep(time.Second) // what waited in its socket is sorted out
				start = time.Now()
				if err := x.run(t, r); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > 16*oneWay+20*time.Millisecond {
					t.Errorf("reached again after %v", took)
				}
				if n := r.nodes[0].open.Load(); name != "session" && n != 0 {
					t.Errorf("%d sessions", n)
				}
			})
		})
	}
}

// A node that froze and woke up while nobody asked keeps its connection: the proof costs a round trip, and the round-trip time that
// Status tells is without it.
func TestSimProofOfARestingConnection(t *testing.T) {
	simRoute(t, 1, func(t *testing.T, sim *testnet.Sim, r *route) {
		ask := func() (rtt, took time.Duration) {
			start := time.Now()
			_, rtt, err := r.coordinator.Status(t.Context(), r.hosts[0].AddrInfo())
			if err != nil {
				t.Fatal(err)
			}
			return rtt, time.Since(start)
		}
		ask()
		conns := r.coordinator.Libp2p().Network().ConnsToPeer(r.hosts[0].ID())
		sim.Freeze(1, true)
		time.Sleep(10 * time.Second)
		sim.Freeze(1, false)
		time.Sleep(time.Second)
		for _, trips := range []int{4, 2} { // with and, at once after it, without the proof
			rtt, took := ask()
			slack := 5 * time.Millisecond
			if want := time.Duration(trips) * oneWay; took < want || took > want+slack || rtt < 2*oneWay || rtt > 2*oneWay+slack {
				t.Errorf("took %v, round trip %v: want %d trips of %v", took, rtt, trips, oneWay)
			}
		}
		if now := r.coordinator.Libp2p().Network().ConnsToPeer(r.hosts[0].ID()); len(now) != 1 || now[0] != conns[0] {
			t.Error("the connection was replaced")
		}
	})
}

// A peer that does not answer beats proves itself by refusing them.
func TestSimProofWithoutBeats(t *testing.T) {
	for name, refuse := range beatless {
		t.Run(name, func(t *testing.T) {
			simRoute(t, 1, func(t *testing.T, _ *testnet.Sim, r *route) {
				r.hosts[0].Libp2p().RemoveStreamHandler(p2p.BeatProtocol)
				if refuse != nil {
					r.hosts[0].Libp2p().SetStreamHandler(p2p.BeatProtocol, refuse)
				}
				pi := r.hosts[0].AddrInfo()
				if _, _, err := r.coordinator.Status(t.Context(), pi); err != nil {
					t.Fatal(err)
				}
				conns := r.coordinator.Libp2p().Network().ConnsToPeer(pi.ID)
				time.Sleep(10 * time.Second)
				if _, _, err := r.coordinator.Status(t.Context(), pi); err != nil {
					t.Error(err)
				}
				if now := r.coordinator.Libp2p().Network().ConnsToPeer(pi.ID); len(now) != 1 || now[0] != conns[0] {
					t.Error("the connection was replaced")
				}
			})
		})
	}
}

// An exchange is repeated once, and only where its connection broke before anything was answered.
func TestExchangeIsRepeatedOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(s network.Stream)
		want int32
		code protocol.Code
	}{
		"closed":  {func(s network.Stream) { _ = s.Conn().Close() }, 2, protocol.CodeUnreachable},
		"refused": {func(s network.Stream) { _ = s.Conn().CloseWithError(network.ConnResourceLimitExceeded) }, 1, protocol.CodeBusy},
		"reset":   {func(s network.Stream) { _ = s.Reset() }, 1, protocol.CodeUnreachable},
		"mute":    {func(s network.Stream) { _ = s.CloseWrite() }, 1, protocol.CodeUnreachable},
		"answered": {func(s network.Stream) {
			raw := rawStream{s, bufio.NewReader(s)}
			_, _ = raw.recv()
			_, _ = s.Write(encode(t, &protocol.ModelChunk{Total: 10, Bytes: []byte("half ")}))
			_, _ = raw.recv()
			_ = s.Conn().Close()
		}, 1, protocol.CodeUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoute(t, 1)
			var asked atomic.Int32
			r.hosts[0].Guarded().SetStreamHandler(p2p.ModelProtocol, func(s network.Stream) {
				asked.Add(1)
				tt.end(s)
			})
			if err := r.coordinator.Connect(t.Context(), r.hosts[0].AddrInfo()); err != nil {
				t.Fatal(err)
			}
			_, err := r.coordinator.FetchManifest(t.Context(), r.hosts[0].ID(), r.nodes[0].model())
			if !errors.Is(err, &protocol.Error{Code: tt.code}) || asked.Load() != tt.want {
				t.Errorf("asked %d times, want %d: %v", asked.Load(), tt.want, err)
			}
		})
	}
}

// On real sockets: a node is killed and restarted with its key at its address, and answers the next question.
func TestRestartedPeerAnswers(t *testing.T) {
	t.Parallel()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	node := testnet.Loopback(t, p2p.Config{Key: key})
	node.Serve(newAdder())
	d := newDetour(t, node)
	front, err := manet.FromNetAddr(d.front.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	pi := peer.AddrInfo{ID: node.ID(), Addrs: []multiaddr.Multiaddr{front.Encapsulate(multiaddr.StringCast("/quic-v1"))}}
	coordinator := testnet.Loopback(t, p2p.Config{DialOnly: true})
	if _, _, err := coordinator.Status(t.Context(), pi); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again := testnet.Loopback(t, p2p.Config{Key: key})
		again.Serve(newAdder())
		d.redirect(t, again)
		if err := node.Close(); err != nil { // its goodbye is lost
			t.Fatal(err)
		}
		node = again
		start := time.Now()
		if _, _, err := coordinator.Status(t.Context(), pi); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > testWait/2 {
			t.Errorf("after %v", took)
		}
		if !again.Admitted(coordinator.ID()) {
			t.Error("somebody else has answered")
		}
	}
}

// Nobody listens at the port: said by name, and soon, though UDP does not tell.
func TestStatusAtADeadPort(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := manet.FromNetAddr(conn.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	node := testnet.Loopback(t, p2p.Config{})
	coordinator := testnet.Loopback(t, p2p.Config{DialOnly: true})
	start := time.Now()
	_, _, err = coordinator.Status(t.Context(), peer.AddrInfo{ID: node.ID(), Addrs: []multiaddr.Multiaddr{addr.Encapsulate(multiaddr.StringCast("/quic-v1"))}})
	if !errors.Is(err, &protocol.Error{Code: protocol.CodeUnreachable}) || errors.Is(err, p2p.ErrPeerLost) {
		t.Errorf("%v, want unreachable: it was never there", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("gave up after %v, want 2 s", took)
	}
}
