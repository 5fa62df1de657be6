// SPDX-License-Identifier: MIT

package p2p_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

var paths = map[string]protocol.Path{"direct": protocol.PathDirect, "relay": protocol.PathRelay}

func TestSession(t *testing.T) {
	t.Parallel()
	for name, path := range paths {
		for _, n := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				t.Parallel()
				r := newRoute(t, n)
				o := r.request(path)
				hops := r.mustOpen(t, o)
				if got := hops[n-1].Opened(); got.Session != o.Session || got.Epoch != o.Epoch || got.KVBytes != 64 {
					t.Errorf("opened %+v", got)
				}
				position := uint32(0)
				for step, rows := range []int{512, 1, 1, 7, 1} { // prefill, decode, speculation
					v := protocol.TokenID(100 + step)
					in := &protocol.Step{Session: o.Session, Epoch: 1, Step: uint32(step), Position: position, Tokens: tokens(v, rows), Sample: true}
					out, ok := exchange(t, path, hops, in).(*protocol.IntermediateResult)
					if !ok || len(out.Generated) != 1 || out.Generated[0] != v+protocol.TokenID(n) || len(out.Tokens) != rows || out.Position != position {
						t.Fatalf("step %d: %+v, want token %d", step, out, int(v)+n)
					}
					position += uint32(rows)
				}
				back := &protocol.Truncate{Session: o.Session, Epoch: 1, Step: 5, Position: 513}
				if out, ok := exchange(t, path, hops, back).(*protocol.Truncate); !ok || *out != *back {
					t.Fatalf("truncate: %+v", out)
				}
				in := &protocol.Step{Session: o.Session, Epoch: 1, Step: 6, Position: 513, Tokens: tokens(7, 1), Sample: true}
				if out, ok := exchange(t, path, hops, in).(*protocol.IntermediateResult); !ok || out.Generated[0] != 7+protocol.TokenID(n) {
					t.Fatalf("after truncate: %+v", out)
				}
			})
		}
	}
}

// A prefill chunk of 16 MiB passes all limits on both paths.
func TestLargePrefill(t *testing.T) {
	t.Parallel()
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoute(t, 2)
			for _, n := range r.nodes {
				n.hidden = 8192
			}
			o := r.request(path)
			in := &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(3, 512), Sample: true}
			out, ok := exchange(t, path, r.mustOpen(t, o), in).(*protocol.IntermediateResult)
			if !ok || len(out.Tokens) != 512 || out.Generated[0] != 5 {
				t.Errorf("%+v", out)
			}
		})
	}
}

func TestCloseFreesEverySession(t *testing.T) {
	t.Parallel()
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoute(t, 3)
			for range 3 { // the same session ID may come again
				o := r.request(path)
				o.Session = protocol.SessionID{1}
				hops := r.mustOpen(t, o)
				for _, h := range hops {
					h.Close()
				}
				r.waitIdle(t)
			}
		})
	}
}

// waitIdle returns when no node has a session. Freeing is asynchronous: it asks until the test's deadline.
func (r *route) waitIdle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	for i := range r.nodes {
		for {
			st, _, err := r.coordinator.Status(ctx, r.hosts[i].AddrInfo())
			if err != nil {
				t.Fatalf("hop %d still has sessions: %v", i, err)
			}
			if st.Sessions == 0 {
				break
			}
		}
	}
}

// A Close frame does what closing the stream does.
func TestCloseFrame(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 2)
	o := r.request(protocol.PathDirect)
	for _, h := range r.mustOpen(t, o) {
		if err := h.Send(&protocol.Close{Session: o.Session, Epoch: o.Epoch}); err != nil {
			t.Fatal(err)
		}
	}
	r.waitIdle(t)
}

func TestOpenRefused(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 3)
	r.nodes[1].refuse = protocol.Errorf(protocol.CodeBusy, "no session slot: try another node")
	hops, errs := r.open(t.Context(), r.request(protocol.PathDirect))
	var busy *protocol.Error
	if !errors.As(errs[1], &busy) || busy.Code != protocol.CodeBusy || busy.Layers != (protocol.LayerRange{From: 2, To: 4}) || busy.Peer != r.hosts[1].ID().String() {
		t.Errorf("hop 1: %v", errs[1])
	}
	if errs[0] != nil || errs[2] != nil {
		t.Fatalf("hop 0: %v, hop 2: %v", errs[0], errs[2])
	}
	// Hop 0 could not attach; it says to whom, and keeps the session for an epoch along another route.
	e, ok := receive(t, hops[0]).(*protocol.Error)
	if !ok || e.Code != protocol.CodeUnreachable || e.Lost != r.hosts[1].ID().String() || !strings.Contains(e.Message, "layers 2-3") {
		t.Errorf("hop 0: %+v", e)
	}
	if n := r.nodes[0].open.Load(); n != 1 {
		t.Errorf("hop 0 has %d sessions, want 1", n)
	}
	for _, h := range hops {
		if h != nil {
			h.Close()
		}
	}
	r.nodes[1].refuse = nil
	r.waitIdle(t)
}

// A coordinator that learns of a refusal gives up on the other hops: they must not hold their memory until their own
// timeouts, also while they reach for the next hop.
func TestOpenGivenUpFreesAtOnce(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 2)
	o := r.request(protocol.PathDirect)
	hop, err := r.coordinator.OpenHop(t.Context(), o.Route[0], o) // hop 1 never gets its Open
	if err != nil {
		t.Fatal(err)
	}
	hop.Close()
	r.waitIdle(t)
}

func TestOpenForAnotherNode(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 2)
	o := r.request(protocol.PathRelay)
	o.Index = 1
	if _, err := r.coordinator.OpenHop(t.Context(), o.Route[0], o); !errors.Is(err, &protocol.Error{Code: protocol.CodeBadFrame}) {
		t.Error(err)
	}
}

func TestOpenTwice(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	o := r.request(protocol.PathDirect)
	hops := r.mustOpen(t, o)
	if _, err := r.coordinator.OpenHop(t.Context(), o.Route[0], o); !errors.Is(err, &protocol.Error{Code: protocol.CodeBadFrame}) {
		t.Error(err)
	}
	in := &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(5, 1), Sample: true}
	if out, ok := exchange(t, protocol.PathDirect, hops, in).(*protocol.IntermediateResult); !ok || out.Generated[0] != 6 {
		t.Errorf("the first session suffered: %+v", out)
	}
}

func TestLostHop(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 3)
	o := r.request(protocol.PathDirect)
	hops := r.mustOpen(t, o)
	exchange(t, protocol.PathDirect, hops, &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(1, 1), Sample: true}) // the links are there
	if err := r.hosts[1].Close(); err != nil {
		t.Fatal(err)
	}
	// The hops on both sides say so by themselves, before any step is sent.
	for _, i := range []int{0, 2} {
		e, ok := receive(t, hops[i]).(*protocol.Error)
		if !ok || e.Code != protocol.CodeUnreachable || e.Peer != r.hosts[i].ID().String() || e.Layers != hops[i].Hop().Layers || e.Lost != r.hosts[1].ID().String() {
			t.Errorf("hop %d: %+v", i, e)
		}
	}
	if _, err := hops[1].Recv(); err == nil {
		t.Error("the closed hop still speaks")
	}
}

func TestRecvEndsWithContext(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	hops := r.mustOpen(t, r.request(protocol.PathDirect))
	ctx, cancel := context.WithCancel(t.Context())
	defer hops[0].Bind(ctx)()
	cancel()
	if f, err := hops[0].Recv(); err == nil {
		t.Errorf("received %v", f)
	}
	r.waitIdle(t)
}

// One coordinator may have as many sessions as QUIC has streams; libp2p's own limit would be about 75.
func TestManySessionsOfOneCoordinator(t *testing.T) {
	t.Parallel()
	const n = 140
	r := newRoute(t, 1)
	open := make([]*p2p.HopStream, n)
	requests := make([]*protocol.Open, n)
	for i := range open {
		requests[i] = r.request(protocol.PathDirect)
		open[i] = r.mustOpen(t, requests[i])[0]
	}
	for i, h := range open {
		in := &protocol.Step{Session: requests[i].Session, Epoch: 1, Tokens: tokens(protocol.TokenID(i), 1), Sample: true}
		out, ok := exchange(t, protocol.PathDirect, []*p2p.HopStream{h}, in).(*protocol.IntermediateResult)
		if !ok || out.Generated[0] != protocol.TokenID(i+1) {
			t.Fatalf("session %d: %+v", i, out)
		}
	}
}
