// SPDX-License-Identifier: MIT

package p2p_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// lostPeer checks that err is the loss of the host, for the cause.
func lostPeer(t *testing.T, err error, h *p2p.Host, cause p2p.LossCause) *p2p.LostError {
	t.Helper()
	lost, wire := new(p2p.LostError), new(protocol.Error)
	if !errors.Is(err, p2p.ErrPeerLost) || !errors.As(err, &lost) || lost.Peer != h.ID() || lost.Cause != cause {
		t.Fatalf("%v, want the loss of %s: %s", err, h.ID(), cause)
	}
	if !errors.As(err, &wire) || wire.Code != protocol.CodeUnreachable || wire.Lost != h.ID().String() {
		t.Fatalf("%v: as a frame it is %+v", err, wire)
	}
	return lost
}

// A hop that is cut off is lost to all who share a session with it, in about a second, and each says whom it lost.
func TestSimCutHopIsLost(t *testing.T) {
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			simRoute(t, 3, func(t *testing.T, net *testnet.Sim, r *route) {
				hops := r.mustOpenAll(t, r.request(path))
				time.Sleep(10 * time.Second)
				if n := r.logs.FilterMessage("beat stream broke").Len(); n > 0 {
					t.Errorf("%d beat streams broke in peace", n)
				}
				net.Cut(2, true)
				start := time.Now()
				_, err := hops[1].Recv()
				took := time.Since(start)
				lost := lostPeer(t, err, r.hosts[1], p2p.CauseSilent)
				if took < 650*time.Millisecond || took > 1200*time.Millisecond || lost.Silence < took-300*time.Millisecond {
					t.Errorf("lost after %v, silent for %v: want 0.65 s, the round trip and up to a beat", took, lost.Silence)
				}
				if err := hops[1].Send(&protocol.Close{Session: hops[1].Opened().Session, Epoch: 1}); !errors.Is(err, p2p.ErrPeerLost) {
					t.Errorf("send after the loss: %v", err)
				}
				if path == protocol.PathRelay {
					return // the others know nothing of each other
				}
				for _, i := range []int{0, 2} {
					e, ok := receive(t, hops[i]).(*protocol.Error)
					if !ok || e.Code != protocol.CodeUnreachable || e.Peer != r.hosts[i].ID().String() || e.Lost != r.hosts[1].ID().String() {
						t.Errorf("hop %d says %+v", i, e)
					}
					if took := time.Since(start); took > 1500*time.Millisecond {
						t.Errorf("hop %d says so after %v", i, took)
					}
				}
				if n := r.nodes[0].open.Load() + r.nodes[2].open.Load(); n != 2 {
					t.Errorf("%d sessions at the hops that live, want both", n)
				}
			})
		})
	}
}

// mustOpenAll is mustOpen for a bubble, where nothing may outlive the test's function.
func (r *route) mustOpenAll(t *testing.T, o *protocol.Open) []*p2p.HopStream {
	t.Helper()
	hops, errs := r.open(t.Context(), o)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return hops
}

// Neither ten minutes of silence in the session, nor a lossy link, nor one that is full make a peer look lost.
func TestSimSlowIsNotLost(t *testing.T) {
	for name, loss := range map[string]float64{"quiet": 0, "1 % lost": 0.01, "10 % lost": 0.1} {
		t.Run(name, func(t *testing.T) {
			simRoute(t, 2, func(t *testing.T, net *testnet.Sim, r *route) {
				o := r.request(protocol.PathDirect)
				hops := r.mustOpenAll(t, o)
				net.Lose(loss, 7)
				time.Sleep(10 * time.Minute)
				in := &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(3, 1), Sample: true}
				if out, ok := exchange(t, protocol.PathDirect, hops, in).(*protocol.IntermediateResult); !ok || out.Generated[0] != 5 {
					t.Errorf("after ten minutes: %+v", out)
				}
				if n := r.logs.FilterMessage("beat stream broke").Len(); n > 0 {
					t.Errorf("%d beat streams broke", n)
				}
				for _, h := range hops {
					h.Close()
				}
			})
		})
	}
}

// A chunk of 4 MiB takes a third of a second on this link, and longer with loss: beats wait behind it.
func TestSimFullLinkIsNotLost(t *testing.T) {
	simRoute(t, 2, func(t *testing.T, net *testnet.Sim, r *route) {
		for _, n := range r.nodes {
			n.hidden = 16384
		}
		o := r.request(protocol.PathDirect)
		o.Positions = 4096
		hops := r.mustOpenAll(t, o)
		net.Lose(0.01, 3)
		start := time.Now()
		for i := range uint32(20) {
			in := &protocol.Step{Session: o.Session, Epoch: 1, Step: i, Position: i * 64, Tokens: tokens(3, 64), Sample: true}
			if out, ok := exchange(t, protocol.PathDirect, hops, in).(*protocol.IntermediateResult); !ok || out.Generated[0] != 5 {
				t.Fatalf("step %d: %+v", i, out)
			}
		}
		t.Logf("20 chunks of 4 MiB took %v", time.Since(start))
		for _, h := range hops {
			h.Close()
		}
	})
}

// beatless are the ways in which a peer may serve beat streams without answering beats; nil: it does not know the protocol.
var beatless = map[string]func(network.Stream){
	"not supported": nil,
	"refused":       func(s network.Stream) { _ = s.ResetWithError(network.StreamResourceLimitExceeded) },
	"mute":          func(s network.Stream) { _, _ = io.Copy(io.Discard, s) },
}

// A peer that does not answer beats at all is not taken for lost: one that refuses them is watched by the transport alone,
// and of one that keeps them, QUIC's acknowledgements tell that it lives.
func TestSimPeerWithoutBeats(t *testing.T) {
	for name, refuse := range beatless {
		t.Run(name, func(t *testing.T) {
			simRoute(t, 1, func(t *testing.T, net *testnet.Sim, r *route) {
				r.hosts[0].Libp2p().RemoveStreamHandler(p2p.BeatProtocol)
				if refuse != nil {
					r.hosts[0].Libp2p().SetStreamHandler(p2p.BeatProtocol, refuse)
				}
				o := r.request(protocol.PathDirect)
				hops := r.mustOpenAll(t, o)
				time.Sleep(time.Minute)
				in := &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(3, 1), Sample: true}
				if out, ok := exchange(t, protocol.PathDirect, hops, in).(*protocol.IntermediateResult); !ok || out.Generated[0] != 4 {
					t.Errorf("after a minute: %+v", out)
				}
				r.hosts[0].Libp2p().RemoveStreamHandler(p2p.BeatProtocol)
				net.Cut(1, true)
				start := time.Now()
				_, err := hops[0].Recv()
				lostPeer(t, err, r.hosts[0], p2p.CauseSilent)
				if took := time.Since(start); took > time.Minute {
					t.Errorf("lost after %v", took)
				}
			})
		})
	}
}

// The loss of a peer ends an opening under way, too.
func TestSimLostWhileOpening(t *testing.T) {
	simRoute(t, 2, func(t *testing.T, net *testnet.Sim, r *route) {
		if err := r.coordinator.Connect(t.Context(), r.hosts[1].AddrInfo()); err != nil {
			t.Fatal(err)
		}
		net.Cut(2, true)
		start := time.Now()
		hops, errs := r.open(t.Context(), r.request(protocol.PathDirect))
		lostPeer(t, errs[1], r.hosts[1], p2p.CauseSilent)
		// No beat was answered yet; QUIC knows the round-trip time.
		if took := time.Since(start); took < 650*time.Millisecond || took > 1200*time.Millisecond {
			t.Errorf("noticed after %v", took)
		}
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
		if e, ok := receive(t, hops[0]).(*protocol.Error); !ok || e.Code != protocol.CodeUnreachable || e.Lost != r.hosts[1].ID().String() {
			t.Errorf("hop 0, which cannot reach hop 1, says %+v", e)
		}
		for _, h := range hops {
			if h != nil {
				h.Close()
			}
		}
	})
}

// A hop that leaves says so to the transport: all notice at once.
func TestClosedHopIsLostAtOnce(t *testing.T) {
	t.Parallel()
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoute(t, 3)
			o := r.request(path)
			hops := r.mustOpen(t, o)
			// With the first result all links are there.
			exchange(t, path, hops, &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(3, 1), Sample: true})
			start := time.Now()
			if err := r.hosts[1].Libp2p().Close(); err != nil {
				t.Fatal(err)
			}
			_, err := hops[1].Recv()
			lostPeer(t, err, r.hosts[1], p2p.CauseGone)
			if path == protocol.PathDirect {
				for _, i := range []int{0, 2} {
					if e, ok := receive(t, hops[i]).(*protocol.Error); !ok || e.Lost != r.hosts[1].ID().String() {
						t.Errorf("hop %d says %+v", i, e)
					}
				}
			}
			if took := time.Since(start); took > testWait/2 {
				t.Errorf("noticed after %v", took)
			}
		})
	}
}
