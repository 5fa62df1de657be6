// SPDX-License-Identifier: MIT

package p2p_test

import (
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// leaving is a route of three hops that has computed rows, and a spare node for hop 1.
type leaving struct {
	*route
	o     *protocol.Open
	hops  []*p2p.HopStream
	spare *p2p.Host
	node  *adder
}

const movedRows = 30

func newLeaving(t *testing.T, r *route, spare *p2p.Host) *leaving {
	t.Helper()
	l := &leaving{route: r, o: r.request(protocol.PathDirect), spare: spare, node: newAdder()}
	spare.Serve(l.node)
	l.hops = r.mustOpenAll(t, l.o)
	in := &protocol.Step{Session: l.o.Session, Epoch: 1, Tokens: tokens(5, movedRows), Sample: true}
	if out, ok := exchange(t, protocol.PathDirect, l.hops, in).(*protocol.IntermediateResult); !ok || out.Generated[0] != 8 {
		t.Fatalf("%+v", out)
	}
	return l
}

// replan is the Open of a route in which the spare takes over rows of hop 1.
func (l *leaving) replan(sources ...protocol.Hop) *protocol.Open {
	o := *l.o
	o.Epoch = 2
	o.Route = append([]protocol.Hop(nil), l.o.Route...)
	o.Route[1] = protocol.Hop{Peer: l.spare.ID().String(), Layers: l.o.Route[1].Layers}
	for _, a := range l.spare.Addrs() {
		o.Route[1].Addrs = append(o.Route[1].Addrs, a.String())
	}
	o.Index, o.Rows, o.Sources = 1, movedRows, sources
	if len(sources) == 0 {
		o.Sources = []protocol.Hop{l.o.Route[1]}
	}
	return &o
}

// closeAll ends what the test opened.
func (l *leaving) closeAll() {
	for _, h := range l.hops {
		h.Close()
	}
}

// openHops opens only the spare's hop and the one behind it, which the spare attaches to.
func (l *leaving) openSpare(t *testing.T, o *protocol.Open) (*p2p.HopStream, error) {
	t.Helper()
	last := *o
	last.Index, last.Sources, last.Rows = 2, nil, 0
	type opened struct {
		h   *p2p.HopStream
		err error
	}
	behind := make(chan opened, 1)
	go func() {
		h, err := l.coordinator.OpenHop(t.Context(), last.Route[2], &last)
		behind <- opened{h, err}
	}()
	h, err := l.coordinator.OpenHop(t.Context(), o.Route[1], o)
	b := <-behind
	if b.err != nil {
		t.Fatal(b.err)
	}
	t.Cleanup(b.h.Close)
	return h, err
}

// The replacement of a hop takes its rows over from the hop that leaves, or each layer from another, before it says Opened.
func TestOpenWithSources(t *testing.T) {
	t.Parallel()
	for name, parts := range map[string]int{"one source": 1, "two sources": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLeaving(t, newRoute(t, 3), testnet.Loopback(t, p2p.Config{}))
			defer l.closeAll()
			var sources []protocol.Hop
			if parts == 2 {
				low, high := l.o.Route[1], l.o.Route[1]
				low.Layers.To, high.Layers.From = 3, 3
				sources = append(sources, low, high)
			}
			h, err := l.openSpare(t, l.replan(sources...))
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if got := h.Opened().CachedTo; got != movedRows {
				t.Errorf("opened with %d rows, want %d", got, movedRows)
			}
			in := &protocol.IntermediateResult{Session: l.o.Session, Epoch: 2, Position: movedRows, Tokens: tokens(5, 1), DType: protocol.F32, Hidden: make([]byte, 16)}
			_ = h.Send(in) // hop 1 of a direct route takes no inputs from here: it says so, and lives
			if e, ok := receive(t, h).(*protocol.Error); !ok || e.Code != protocol.CodeBadFrame {
				t.Errorf("%+v", e)
			}
		})
	}
}

// A source that refuses, breaks off or is not there leaves the session open with what it gave.
func TestOpenWithBadSources(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, l *leaving, o *protocol.Open)
		want  uint32
	}{
		"does not know the session": {func(_ *testing.T, l *leaving, _ *protocol.Open) { l.hops[1].Close() }, 0},
		"breaks off":                {func(_ *testing.T, l *leaving, _ *protocol.Open) { l.nodes[1].broken.Store(true) }, 16},
		"is dead":                   {func(_ *testing.T, l *leaving, _ *protocol.Open) { _ = l.hosts[1].Close() }, 0},
		"serves nothing": {func(t *testing.T, l *leaving, o *protocol.Open) {
			other := testnet.Loopback(t, p2p.Config{})
			o.Sources[0].Peer, o.Sources[0].Addrs = other.ID().String(), []string{other.Addrs()[0].String()}
		}, 0},
		"sends nonsense": {func(_ *testing.T, l *leaving, _ *protocol.Open) {
			l.hosts[1].Guarded().SetStreamHandler(p2p.MoveProtocol, func(s network.Stream) {
				part := &protocol.KVRows{Layers: l.o.Route[1].Layers, Position: 7, Rows: 1, KV: make([]byte, 16)}
				b, _ := protocol.Append(nil, part)
				_, _ = s.Write(b)
			})
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLeaving(t, newRoute(t, 3), testnet.Loopback(t, p2p.Config{}))
			defer l.closeAll()
			o := l.replan()
			tt.spoil(t, l, o)
			for l.nodes[1].open.Load() > 0 && tt.want == 0 && name == "does not know the session" {
				if _, _, err := l.coordinator.Status(t.Context(), l.hosts[1].AddrInfo()); err != nil { // freeing is asynchronous
					t.Fatal(err)
				}
			}
			h, err := l.openSpare(t, o)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if got := h.Opened().CachedTo; got != tt.want {
				t.Errorf("opened with %d rows, want %d", got, tt.want)
			}
		})
	}
}

// A source that falls silent in the middle does not hold the opening up for long, whichever way it is silent.
func TestSimSourceIsLost(t *testing.T) {
	for name, stall := range map[string]bool{"cut off": false, "stalls": true} {
		t.Run(name, func(t *testing.T) {
			simRoute(t, 4, func(t *testing.T, net *testnet.Sim, r *route) {
				spare := r.hosts[3]
				r.hosts, r.nodes = r.hosts[:3], r.nodes[:3]
				l := newLeaving(t, r, spare)
				defer l.closeAll()
				l.hosts[1].Guarded().SetStreamHandler(p2p.MoveProtocol, func(s network.Stream) {
					part := &protocol.KVRows{Layers: l.o.Route[1].Layers, Rows: 1, KV: make([]byte, 16)}
					part.Session, part.Digest = l.o.Session, protocol.KVDigest(part)
					b, _ := protocol.Append(nil, part)
					_, _ = s.Write(b)
					if !stall {
						time.Sleep(100 * time.Millisecond)
						net.Cut(2, true)
					}
				})
				o := *l.replan()
				o.Path = protocol.PathRelay // a hop alone
				start := time.Now()
				h, err := l.coordinator.OpenHop(t.Context(), o.Route[1], &o)
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				took := time.Since(start)
				if got := h.Opened().CachedTo; got != 1 {
					t.Errorf("opened with %d rows, want the one that came", got)
				}
				if limit := map[bool]time.Duration{false: 3 * time.Second, true: 12 * time.Second}[stall]; took > limit {
					t.Errorf("opened after %v, want %v at the most", took, limit)
				}
			})
		})
	}
}

// A node that leaves tells the coordinator of each session, once, also of one that is opened meanwhile in a higher epoch.
func TestLeave(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 2)
	o := r.request(protocol.PathDirect)
	hops := r.mustOpen(t, o)
	r.hosts[1].Leave(time.Minute)
	f, ok := receive(t, hops[1]).(*protocol.Leaving)
	if !ok || f.Session != o.Session || f.Epoch != 1 || f.Grace > uint64(time.Minute) || f.Grace < uint64(50*time.Second) {
		t.Fatalf("%+v", f)
	}
	r.hosts[1].Leave(time.Minute) // again says nothing new
	in := &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(3, 1), Sample: true}
	if out, ok := exchange(t, protocol.PathDirect, hops, in).(*protocol.IntermediateResult); !ok || out.Generated[0] != 5 {
		t.Errorf("the session does not go on: %+v", out)
	}
	other := r.request(protocol.PathRelay)
	late := r.mustOpen(t, other)
	if f, ok := receive(t, late[1]).(*protocol.Leaving); !ok || f.Session != other.Session {
		t.Errorf("%+v", f)
	}
}

// Whoever asks for rows without a session, or for nothing that makes sense, gets a reason.
func TestExportRefused(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	s := openRaw(t, r.coordinator, r.hosts[0], p2p.MoveProtocol)
	good := &protocol.Export{Layers: protocol.LayerRange{To: 2}, Numerics: "test", End: 3}
	for range 2 { // the stream serves any number
		s.send(t, good)
		f, err := s.recv()
		if e, ok := f.(*protocol.Error); !ok || e.Code != protocol.CodeSessionNotFound || e.Peer != r.hosts[0].ID().String() {
			t.Fatalf("%+v, %v", f, err)
		}
	}
	s.send(t, &protocol.StatusRequest{})
	if _, err := s.recv(); !errors.Is(err, &network.StreamError{ErrorCode: network.StreamProtocolViolation, Remote: true}) {
		t.Errorf("after a frame of another kind: %v", err)
	}
}
