// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// byHand drives a session frame by frame, as a coordinator does, where a test wants to move it.
type byHand struct {
	t      *testing.T
	c      *Client
	open   protocol.Open
	hops   []*p2p.HopStream
	step   uint32
	rows   []protocol.TokenID // of which the session has computed the cache
	logits []byte             // of each of them
	next   protocol.TokenID   // drawn last
}

func hopOf(n *node.Node) protocol.Hop {
	st := n.Status()
	return protocol.Hop{Peer: st.Peer, Addrs: st.Addrs, Layers: st.Layers}
}

// reopen opens the session's next epoch along nodes; sources are of the node that needs them.
func (b *byHand) reopen(sources map[*node.Node][]protocol.Hop, nodes ...*node.Node) {
	b.t.Helper()
	b.open.Epoch++
	b.step = 0
	b.open.Route = nil
	for _, n := range nodes {
		b.open.Route = append(b.open.Route, hopOf(n))
	}
	old := b.hops
	b.hops = make([]*p2p.HopStream, len(nodes))
	errs := make([]error, len(nodes))
	done := make(chan struct{})
	for i, n := range nodes {
		go func() {
			o := b.open
			o.Index = uint32(i)
			if from := sources[n]; from != nil {
				o.Sources, o.Rows = from, uint32(len(b.rows))
			}
			b.hops[i], errs[i] = b.c.host.OpenHop(b.t.Context(), o.Route[i], &o)
			done <- struct{}{}
		}()
	}
	for range nodes {
		<-done
	}
	if err := errors.Join(errs...); err != nil {
		b.t.Fatal(err)
	}
	for _, h := range old {
		h.Close()
	}
	for i, h := range b.hops {
		if got := h.Opened().CachedTo; got != uint32(len(b.rows)) {
			b.t.Fatalf("hop %d has %d rows, want %d", i, got, len(b.rows))
		}
	}
}

// feed runs rows through the route, and notes their logits and the token drawn behind them.
func (b *byHand) feed(tokens ...protocol.TokenID) {
	b.t.Helper()
	in := &protocol.Step{Session: b.open.Session, Epoch: b.open.Epoch, Step: b.step, Position: uint32(len(b.rows)), Tokens: tokens, Sample: true}
	for i := range tokens {
		in.Logits = append(in.Logits, uint32(i))
	}
	if err := b.hops[0].Send(in); err != nil {
		b.t.Fatal(err)
	}
	f, err := b.hops[len(b.hops)-1].Recv()
	if err != nil {
		b.t.Fatal(err)
	}
	r, ok := f.(*protocol.IntermediateResult)
	if !ok {
		b.t.Fatalf("%+v", f)
	}
	b.step++
	b.rows = append(b.rows, tokens...)
	b.logits = append(b.logits, r.LogitRows...)
	b.next = r.Generated[0]
}

// TestDrainMovesTheSession: nodes that leave, one after another, hand their rows of a session on: nothing is computed again, each node
// ends as soon as its session is elsewhere, and the logits are those of one local pass, bit for bit.
func TestDrainMovesTheSession(t *testing.T) {
	t.Parallel()
	drains := func(c *node.Config) { c.DrainTime = patience }
	first, stopFirst := startNode(t, "0-15", drains)
	last, stopLast := startNode(t, "16-31", drains)
	spareFirst, _ := startNode(t, "0-15", drains)
	spareLast, _ := startNode(t, "16-31", drains)
	c := join(t, first, nil)
	m, err := newModel(first.Status().Model, demoFile().Meta)
	if err != nil {
		t.Fatal(err)
	}
	_, prompt, err := m.promptTokens(&Request{Prompt: question})
	if err != nil {
		t.Fatal(err)
	}
	b := &byHand{t: t, c: c, open: protocol.Open{
		Session: protocol.SessionID{7}, Model: first.Status().Model, Numerics: first.Status().Numerics[0], Wire: protocol.F32, Positions: 64,
		Request: protocol.InferenceRequest{MaxTokens: 20, Sampling: protocol.Sampling{Temperature: 0.8, RepeatPenalty: 1.2, Seed: 3}},
	}}
	b.reopen(nil, first, last)
	b.feed(prompt...)
	for range 4 {
		b.feed(b.next)
	}

	leave := func(n *node.Node, hop int, stop func(), to *node.Node, nodes ...*node.Node) {
		t.Helper()
		n.Leave()
		f, err := b.hops[hop].Recv()
		if err != nil {
			t.Fatal(err)
		}
		if told, ok := f.(*protocol.Leaving); !ok || told.Session != b.open.Session || told.Epoch != b.open.Epoch || told.Grace > uint64(patience) {
			t.Fatalf("%+v", f)
		}
		// It takes no new session, and says so in its status.
		o := b.open
		o.Session[0]++
		o.Index = uint32(hop)
		if _, err := c.host.OpenHop(t.Context(), o.Route[hop], &o); !errors.Is(err, &protocol.Error{Code: protocol.CodeDraining}) {
			t.Errorf("a new session: %v", err)
		}
		if !n.Status().Draining || n.Health().Ready {
			t.Errorf("status %+v, health %+v", n.Status(), n.Health())
		}
		b.feed(b.next) // what is open goes on meanwhile
		steps := to.Engine().Stats().Steps
		b.reopen(map[*node.Node][]protocol.Hop{to: {hopOf(n)}}, nodes...)
		if again := to.Engine().Stats().Steps - steps; again != 0 {
			t.Errorf("the replacement computed %d steps", again)
		}
		stop() // returns when Run has: the session was its last
		for range 4 {
			b.feed(b.next)
		}
	}
	leave(last, 1, stopLast, spareLast, first, spareLast)
	leave(first, 0, stopFirst, spareFirst, spareFirst, spareLast)
	for _, h := range b.hops {
		h.Close()
	}
	if !bytes.Equal(b.logits, local(t, b.rows, protocol.F16)) {
		t.Error("the logits differ from one local pass")
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(b.rows[len(prompt):]))); len(distinct) < 5 {
		t.Errorf("only %v were drawn: that would not show much", distinct)
	}
}

// TestDrainTimeout: a node whose coordinators do not move their sessions leaves all the same, and says why to each.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	n, stop := startNode(t, "0-31", func(c *node.Config) { c.DrainTime = 300 * time.Millisecond })
	c := join(t, n, nil)
	b := &byHand{t: t, c: c, open: protocol.Open{
		Session: protocol.SessionID{8}, Model: n.Status().Model, Numerics: n.Status().Numerics[0], Wire: protocol.F32, Positions: 64,
	}}
	b.reopen(nil, n)
	start := time.Now()
	stop()
	if took := time.Since(start); took < 300*time.Millisecond || took > patience/2 {
		t.Errorf("left after %v, want 300 ms", took)
	}
	var last error
	for last == nil {
		var f protocol.Frame
		if f, last = b.hops[0].Recv(); last == nil {
			if e, ok := f.(*protocol.Error); ok && e.Code != protocol.CodeDraining {
				t.Errorf("%+v", e)
			}
		}
	}
	b.hops[0].Close()
}

// TestIdleNodeLeavesAtOnce: nobody is waited for.
func TestIdleNodeLeavesAtOnce(t *testing.T) {
	t.Parallel()
	n, stop := startNode(t, "0-31", func(c *node.Config) { c.DrainTime = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	left := make(chan struct{})
	go func() {
		n.Leave()
		stop()
		close(left)
	}()
	select {
	case <-left:
	case <-ctx.Done():
		t.Fatal("it waits for nobody")
	}
}
