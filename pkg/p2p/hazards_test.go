// SPDX-License-Identifier: MIT

package p2p_test

import (
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// What libp2p and QUIC do that one would not expect, as it comes out of this package.

// A stream to a peer that does not serve sessions opens, and takes the Open; the refusal is found by the first read.
func TestOpenAtAPeerThatServesNothing(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	o := r.request(protocol.PathDirect)
	r.mustOpen(t, o)
	// libp2p believes now that the peer speaks the protocol, and negotiates lazily.
	r.hosts[0].Libp2p().RemoveStreamHandler(p2p.SessionProtocol)
	again := r.request(protocol.PathDirect)
	_, err := r.coordinator.OpenHop(t.Context(), again.Route[0], again)
	if !errors.Is(err, &protocol.Error{Code: protocol.CodeUnreachable}) || errors.Is(err, p2p.ErrPeerLost) || !strings.Contains(err.Error(), "does not speak") {
		t.Errorf("%v, want unreachable: it does not speak this protocol", err)
	}
}

// A reset without a word, right after the stream was opened, is told apart by its code; none means that the peer is lost.
func TestOpenRefusedByReset(t *testing.T) {
	t.Parallel()
	for reset, want := range map[network.StreamErrorCode]protocol.Code{
		network.StreamResourceLimitExceeded: protocol.CodeBusy,
		network.StreamRateLimited:           protocol.CodeBusy,
		network.StreamShutdown:              protocol.CodeDraining,
		network.StreamNoError:               protocol.CodeUnreachable,
	} {
		r := newRoute(t, 1)
		r.hosts[0].Guarded().SetStreamHandler(p2p.SessionProtocol, func(s network.Stream) { _ = s.ResetWithError(reset) })
		o := r.request(protocol.PathDirect)
		_, err := r.coordinator.OpenHop(t.Context(), o.Route[0], o)
		if !errors.Is(err, &protocol.Error{Code: want}) || errors.Is(err, p2p.ErrPeerLost) {
			t.Errorf("reset 0x%x: %v, want %s", reset, err, want)
		}
	}
}

// The resource manager of the other side refuses the stream above the limit on its first read: busy, and the others live.
func TestOneStreamTooManyIsBusy(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	var last *p2p.HopStream
	var open []*p2p.HopStream
	defer func() {
		for _, h := range open {
			h.Close()
		}
	}()
	for i := range p2p.MaxPeerStreams {
		o := r.request(protocol.PathRelay)
		h, err := r.coordinator.OpenHop(t.Context(), o.Route[0], o)
		if err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		open = append(open, h)
		last = h
	}
	o := r.request(protocol.PathRelay)
	if _, err := r.coordinator.OpenHop(t.Context(), o.Route[0], o); !errors.Is(err, &protocol.Error{Code: protocol.CodeBusy}) || errors.Is(err, p2p.ErrPeerLost) {
		t.Errorf("%v, want busy", err)
	}
	in := &protocol.Step{Session: last.Opened().Session, Epoch: 1, Tokens: tokens(5, 1), Sample: true}
	if out, ok := exchange(t, protocol.PathRelay, []*p2p.HopStream{last}, in).(*protocol.IntermediateResult); !ok || out.Generated[0] != 6 {
		t.Errorf("the others suffered: %+v", out)
	}
}

// A connection that the peer closes because it has too many is a refusal, not a loss.
func TestRefusedConnectionIsBusy(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	hops := r.mustOpen(t, r.request(protocol.PathDirect))
	for _, c := range r.hosts[0].Libp2p().Network().ConnsToPeer(r.coordinator.ID()) {
		_ = c.CloseWithError(network.ConnResourceLimitExceeded)
	}
	if _, err := hops[0].Recv(); !errors.Is(err, &protocol.Error{Code: protocol.CodeBusy}) || errors.Is(err, p2p.ErrPeerLost) {
		t.Errorf("%v, want busy", err)
	}
}

// Nothing answers at a dead UDP port; QUIC alone would dial it for 5 s.
func TestOpenAtADeadPort(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	o := r.request(protocol.PathDirect)
	if err := r.hosts[0].Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := r.coordinator.OpenHop(t.Context(), o.Route[0], o)
	if !errors.Is(err, &protocol.Error{Code: protocol.CodeUnreachable}) || errors.Is(err, p2p.ErrPeerLost) {
		t.Errorf("%v, want unreachable: it was never there", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("gave up after %v, want 2 s", took)
	}
}

// detour is a UDP forwarder between one client and a server that can be replaced; what the old one sends is lost.
type detour struct {
	front *net.UDPConn // towards the client

	mu     sync.Mutex // guards all following fields
	back   *net.UDPConn
	client *net.UDPAddr
	done   sync.WaitGroup
}

func newDetour(t *testing.T, to *p2p.Host) *detour {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	d := &detour{front: front}
	d.redirect(t, to)
	d.done.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := front.ReadFromUDP(buf)
			if err != nil {
				return
			}
			d.mu.Lock()
			d.client = from
			_, _ = d.back.Write(buf[:n]) // as a network does: lost if nobody is there
			d.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = front.Close()
		_ = d.back.Close()
		d.done.Wait()
	})
	return d
}

// redirect leads to another server from now on.
func (d *detour) redirect(t *testing.T, to *p2p.Host) {
	t.Helper()
	addr, err := manet.ToNetAddr(to.Libp2p().Network().ListenAddresses()[0].Decapsulate(multiaddr.StringCast("/quic-v1")))
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.DialUDP("udp4", nil, addr.(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.back != nil {
		_ = d.back.Close()
	}
	d.back = back
	d.done.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := back.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			d.mu.Lock()
			client := d.client
			d.mu.Unlock()
			if err == nil && client != nil {
				_, _ = d.front.WriteToUDP(buf[:n], client)
			}
		}
	})
}

// A node that was killed and restarted with its key does not know the connection: its QUIC answers the next beat with a
// stateless reset, sooner than silence would tell.
func TestRestartedPeerIsLostAtOnce(t *testing.T) {
	t.Parallel()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	node := testnet.Loopback(t, p2p.Config{Key: key})
	node.Serve(newAdder())
	d := newDetour(t, node)
	coordinator := testnet.Loopback(t, p2p.Config{DialOnly: true})
	front, err := manet.FromNetAddr(d.front.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	o := serveRoute(coordinator, nil).request(protocol.PathDirect)
	o.Route = []protocol.Hop{{Peer: node.ID().String(), Addrs: []string{front.String() + "/quic-v1"}, Layers: protocol.LayerRange{To: 2}}}
	hop, err := coordinator.OpenHop(t.Context(), o.Route[0], o)
	if err != nil {
		t.Fatal(err)
	}
	defer hop.Close()
	again := testnet.Loopback(t, p2p.Config{Key: key})
	start := time.Now()
	d.redirect(t, again)
	_, err = hop.Recv()
	lost := lostPeer(t, err, node, p2p.CauseGone) // and not silent
	t.Logf("noticed after %v: %v", time.Since(start), lost)
}

// A link whose session nobody opens, and that whoever began it has given up meanwhile, leaves no stream behind: it would count against
// the peer's limit for as long as the connection lasts.
func TestSimLinkGivenUpWhileItWaits(t *testing.T) {
	simRoute(t, 1, func(t *testing.T, _ *testnet.Sim, r *route) {
		s := openRaw(t, r.coordinator, r.hosts[0], p2p.LinkProtocol)
		s.send(t, &protocol.Attach{Session: protocol.SessionID{1}, Epoch: 1, Index: 1})
		time.Sleep(time.Second)
		_ = s.Reset()
		time.Sleep(10 * time.Second) // it waits for five
		for _, c := range r.hosts[0].Libp2p().Network().Conns() {
			for _, left := range c.GetStreams() {
				if left.Protocol() == p2p.LinkProtocol {
					t.Errorf("a stream of %s is left", left.Protocol())
				}
			}
		}
	})
}
