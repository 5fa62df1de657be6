// SPDX-License-Identifier: MIT

package p2p_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"go.uber.org/zap/zaptest/observer"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// route is a coordinator and the nodes of one route, two layers each.
type route struct {
	coordinator *p2p.Host
	hosts       []*p2p.Host
	nodes       []*adder
	logs        *observer.ObservedLogs // of all hosts, on a simulated network
}

func newRoute(tb testing.TB, n int) *route {
	tb.Helper()
	return serveRoute(testnet.Loopback(tb, p2p.Config{}), testnet.LoopbackN(tb, n, p2p.Config{}))
}

func serveRoute(coordinator *p2p.Host, hosts []*p2p.Host) *route {
	r := &route{coordinator: coordinator, hosts: hosts}
	for _, h := range hosts {
		n := newAdder()
		h.Serve(n)
		r.nodes = append(r.nodes, n)
	}
	return r
}

// request makes an Open for the whole route; each hop gets its own Index.
func (r *route) request(path protocol.Path) *protocol.Open {
	o := &protocol.Open{Epoch: 1, Numerics: "test", Wire: protocol.F32, Path: path, Positions: 64}
	_, _ = rand.Read(o.Session[:])
	for i, h := range r.hosts {
		hop := protocol.Hop{Peer: h.ID().String(), Layers: protocol.LayerRange{From: 2 * i, To: 2*i + 2}}
		for _, a := range h.Addrs() {
			hop.Addrs = append(hop.Addrs, a.String())
		}
		o.Route = append(o.Route, hop)
	}
	return o
}

// open opens all hops at once; the errors are by hop.
func (r *route) open(ctx context.Context, o *protocol.Open) ([]*p2p.HopStream, []error) {
	hops, errs := make([]*p2p.HopStream, len(r.hosts)), make([]error, len(r.hosts))
	done := make(chan struct{})
	for i := range r.hosts {
		go func() {
			mine := *o
			mine.Index = uint32(i)
			hops[i], errs[i] = r.coordinator.OpenHop(ctx, o.Route[i], &mine)
			done <- struct{}{}
		}()
	}
	for range r.hosts {
		<-done
	}
	return hops, errs
}

// mustOpen opens all hops and closes them with the test.
func (r *route) mustOpen(tb testing.TB, o *protocol.Open) []*p2p.HopStream {
	tb.Helper()
	hops, errs := r.open(context.Background(), o)
	if err := errors.Join(errs...); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, h := range hops {
			h.Close()
		}
	})
	return hops
}

// exchange sends f along the route and returns the last hop's answer.
func exchange(tb testing.TB, path protocol.Path, hops []*p2p.HopStream, f protocol.Frame) protocol.Frame {
	tb.Helper()
	last := len(hops) - 1
	if path == protocol.PathDirect {
		if err := hops[0].Send(f); err != nil {
			tb.Fatal(err)
		}
		return receive(tb, hops[last])
	}
	for _, h := range hops {
		if err := h.Send(f); err != nil {
			tb.Fatal(err)
		}
		f = receive(tb, h)
	}
	return f
}

func receive(tb testing.TB, h *p2p.HopStream) protocol.Frame {
	tb.Helper()
	f, err := h.Recv()
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// tokens makes k equal tokens of value v.
func tokens(v protocol.TokenID, k int) []protocol.TokenID {
	s := make([]protocol.TokenID, k)
	for i := range s {
		s[i] = v
	}
	return s
}
