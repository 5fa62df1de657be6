// SPDX-License-Identifier: MIT

package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func discard(protocol.Frame) error { return nil }

// wantCode checks that err is a complete *protocol.Error with the code and the words.
func wantCode(t *testing.T, err error, code protocol.Code, words string) {
	t.Helper()
	var e *protocol.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *protocol.Error", err, err)
	}
	if e.Code != code || !strings.Contains(e.Message, words) {
		t.Errorf("error %q, want code %s and %q", e, code, words)
	}
	if e.Session == (protocol.SessionID{}) || e.Peer != "test-peer" {
		t.Errorf("error %+v does not say whose it is", e)
	}
}

func TestOpenRefusals(t *testing.T) {
	t.Parallel()
	r := protocol.LayerRange{From: 1, To: 3}
	m := loadModel(t, r, 1)
	rs := ranges(1, 3)
	budget := 3 * m.PageBytes() // one each, and one for the first to go on
	e := start(t, m, func(c *engine.Config) { c.MaxSessions, c.KVBudget = 2, budget })
	for _, c := range []struct {
		name   string
		change func(*protocol.Open)
		code   protocol.Code
		words  string
	}{
		{"index", func(o *protocol.Open) { o.Index = 3 }, protocol.CodeBadFrame, "hop 3 of a route with 3 hops"},
		{"no route", func(o *protocol.Open) { o.Route = nil }, protocol.CodeBadFrame, "0 hops"},
		{"model", func(o *protocol.Open) { o.Model = protocol.ModelID{9} }, protocol.CodeWrongModel, "01000000, not 09000000"},
		{"wire", func(o *protocol.Open) { o.Wire = 7 }, protocol.CodeBadFrame, "dtype(7)"},
		{"numerics", func(o *protocol.Open) { o.Numerics = "n0" }, protocol.CodeWrongNumerics, `not "n0"`},
		{"numerics of another wire", func(o *protocol.Open) { o.Wire = protocol.F16 }, protocol.CodeWrongNumerics, "f16"},
		{"gap in the route", func(o *protocol.Open) { o.Route[2].Layers.From++ }, protocol.CodeBadFrame, "tile"},
		{"route too short", func(o *protocol.Open) { o.Route = o.Route[:2] }, protocol.CodeBadFrame, "ends at layer 2"},
		{"empty hop", func(o *protocol.Open) { o.Route[1].Layers.To = 1; o.Route[2].Layers.From = 1 }, protocol.CodeBadFrame, "tile"},
		{"layers", func(o *protocol.Open) { o.Index = 2 }, protocol.CodeWrongLayers, "holds layers 1-2"},
		{"layers beyond", func(o *protocol.Open) { o.Route[1].Layers.To = 4; o.Route[2].Layers.From = 4 }, protocol.CodeWrongLayers, "not 1-3"},
		{"no positions", func(o *protocol.Open) { o.Positions = 0 }, protocol.CodeTooLong, "reserve 1 to"},
		{"context", func(o *protocol.Open) { o.Positions = testContext + 1 }, protocol.CodeTooLong, "context"},
		{"huge", func(o *protocol.Open) { o.Positions = 1<<32 - 1 }, protocol.CodeTooLong, "context"},
		{"ends of others", func(o *protocol.Open) { o.Numerics += "/other-ends" }, protocol.CodeWrongNumerics, "/other-ends"},
		{"ends twice", func(o *protocol.Open) { o.Numerics += protocol.LocalEnds + protocol.LocalEnds }, protocol.CodeWrongNumerics, "/local-ends/local-ends"},
		{"sampling", func(o *protocol.Open) { o.Request.Sampling.TopP = 2 }, protocol.CodeBadFrame, "top-p 2"},
	} {
		o := openFrame(m, 1, protocol.F32, rs, 1, 10)
		c.change(o)
		_, _, err := e.Open(testPeer, o, discard)
		t.Run(c.name, func(t *testing.T) { wantCode(t, err, c.code, c.words) })
	}
	if s := e.Stats(); s.Sessions != 0 || s.KVUsed != 0 || s.Refusals[protocol.CodeBadFrame] != 7 {
		t.Errorf("after refusals: %+v", s)
	}

	open := func(id byte, positions int) (*engine.Session, error) {
		s, _, err := e.Open(testPeer, openFrame(m, id, protocol.F32, rs, 1, positions), discard)
		return s, err
	}
	a, err := open(1, 30)
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(2, testContext) // nobody asks how far it wants to go
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(3, 1)
	wantCode(t, err, protocol.CodeBusy, "all 2 session slots are in use")
	_, err = open(2, 10)
	wantCode(t, err, protocol.CodeStaleEpoch, "higher one")
	if s := e.Stats(); s.Sessions != 2 || s.KVUsed != 2*m.PageBytes() || s.KVMax != budget {
		t.Errorf("with two sessions: %+v", s)
	}
	a.Close()
	a.Close() // twice does nothing
	if s := e.Stats(); s.Sessions != 1 || s.KVUsed != m.KVBytes(10) {
		t.Errorf("after Close: %+v", s)
	}
	if _, err = open(3, 30); err != nil {
		t.Errorf("the closed session's memory is not free: %v", err)
	}
	b.Close()
	e.Drain()
	_, err = open(4, 1)
	wantCode(t, err, protocol.CodeDraining, "leaving")
	if !e.Stats().Draining {
		t.Error("Stats does not say that the engine is draining")
	}
}

func TestFrameRefusals(t *testing.T) {
	t.Parallel()
	id := protocol.SessionID{1}
	first := func(change func(*protocol.Step)) protocol.Frame {
		f := &protocol.Step{Session: id, Tokens: []protocol.TokenID{1, 2}, Logits: []uint32{0, 1}}
		change(f)
		return f
	}
	middle := func(change func(*protocol.IntermediateResult)) protocol.Frame {
		f := &protocol.IntermediateResult{
			Session: id, Tokens: []protocol.TokenID{1, 2}, DType: protocol.F32, Hidden: make([]byte, 2*testHidden*4),
			Hops: make([]protocol.HopTiming, 1),
		}
		change(f)
		return f
	}
	local := func(change func(*protocol.IntermediateResult)) protocol.Frame {
		return middle(func(f *protocol.IntermediateResult) {
			f.Tokens, f.Hops = []protocol.TokenID{0, 0}, nil
			change(f)
		})
	}
	for _, c := range []struct {
		name  string
		index int // -1: the first hop of a session whose ends are the coordinator's
		frame protocol.Frame
		code  protocol.Code
		words string
	}{
		{"a step where the ends are local", -1, first(func(*protocol.Step) {}), protocol.CodeBadFrame, "take hidden states, not tokens"},
		{"a token where the ends are local", -1, local(func(f *protocol.IntermediateResult) { f.Tokens[1] = 7 }), protocol.CodeBadFrame, "tokens stay with the coordinator"},
		{"a draw where the ends are local", -1, local(func(f *protocol.IntermediateResult) { f.Sample = true }), protocol.CodeBadFrame, "the coordinator has the head"},
		{"no hidden states where the ends are local", -1, local(func(f *protocol.IntermediateResult) { f.Hidden = nil }), protocol.CodeBadFrame, "0 bytes of hidden states"},
		{"another type where the ends are local", -1, local(func(f *protocol.IntermediateResult) { f.DType = protocol.F16 }), protocol.CodeBadFrame, "takes f32 here"},
		{"timings before the first hop", -1, local(func(f *protocol.IntermediateResult) { f.Hops = make([]protocol.HopTiming, 1) }), protocol.CodeBadFrame, "1 hop timings before hop 0"},
		{"step to a later hop", 1, first(func(*protocol.Step) {}), protocol.CodeBadFrame, "take hidden states"},
		{"hidden states to the first hop", 0, middle(func(*protocol.IntermediateResult) {}), protocol.CodeBadFrame, "takes tokens"},
		{"another frame", 0, &protocol.StatusRequest{}, protocol.CodeBadFrame, "no input"},
		{"session", 0, first(func(f *protocol.Step) { f.Session[0] = 2 }), protocol.CodeSessionNotFound, "not open on this stream"},
		{"epoch", 0, first(func(f *protocol.Step) { f.Epoch = 1 }), protocol.CodeOutOfOrder, "epoch 1"},
		{"step", 0, first(func(f *protocol.Step) { f.Step = 1 }), protocol.CodeOutOfOrder, "expected step 0"},
		{"position", 0, first(func(f *protocol.Step) { f.Position = 1 }), protocol.CodeOutOfOrder, "expected position 0"},
		{"truncate ahead", 0, &protocol.Truncate{Session: id, Position: 1}, protocol.CodeOutOfOrder, "goes back only"},
		{"no rows", 0, first(func(f *protocol.Step) { f.Tokens = nil }), protocol.CodeBadFrame, "no rows"},
		{"too many positions", 0, first(func(f *protocol.Step) { f.Tokens = make([]protocol.TokenID, 7) }), protocol.CodeTooLong, "reserved 6"},
		{"too many rows", 0, first(func(f *protocol.Step) { f.Tokens = make([]protocol.TokenID, 6) }), protocol.CodeBadFrame, "the most is 5"},
		{"token", 0, first(func(f *protocol.Step) { f.Tokens[1] = testVocab }), protocol.CodeBadFrame, "outside the vocabulary"},
		{"token at a later hop", 1, middle(func(f *protocol.IntermediateResult) { f.Tokens[1] = 1<<32 - 1 }), protocol.CodeBadFrame, "outside the vocabulary"},
		{"logits beyond the rows", 0, first(func(f *protocol.Step) { f.Logits[1] = 2 }), protocol.CodeBadFrame, "rising"},
		{"logits not rising", 0, first(func(f *protocol.Step) { f.Logits[0] = 1 }), protocol.CodeBadFrame, "rising"},
		{"wire type", 1, middle(func(f *protocol.IntermediateResult) { f.DType = protocol.F16 }), protocol.CodeBadFrame, "f16"},
		{"hidden too short", 1, middle(func(f *protocol.IntermediateResult) { f.Hidden = f.Hidden[4:] }), protocol.CodeBadFrame, "bytes of hidden states"},
		{"no hidden", 1, middle(func(f *protocol.IntermediateResult) { f.Hidden = nil }), protocol.CodeBadFrame, "bytes of hidden states"},
		{"generated tokens", 1, middle(func(f *protocol.IntermediateResult) { f.Generated = f.Tokens }), protocol.CodeBadFrame, "not an input"},
		{"logit rows", 1, middle(func(f *protocol.IntermediateResult) { f.LogitRows = f.Hidden }), protocol.CodeBadFrame, "not an input"},
		{"too many timings", 1, middle(func(f *protocol.IntermediateResult) { f.Hops = make([]protocol.HopTiming, 2) }), protocol.CodeBadFrame, "2 hop timings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rs := ranges(1, 3)
			index := max(c.index, 0)
			m := loadModel(t, rs[index], 1)
			e := start(t, m, func(c *engine.Config) { c.MaxRows = 5 })
			out := make(chan protocol.Frame, 8)
			o := openFrame(m, 1, protocol.F32, rs, index, 6)
			if c.index < 0 {
				o.Numerics += protocol.LocalEnds
			}
			s, _, err := e.Open(testPeer, o, func(f protocol.Frame) error {
				out <- clone(f)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, s.Submit(t.Context(), c.frame), c.code, c.words)
			// The session goes on as if nothing had come.
			good := first(func(*protocol.Step) {})
			switch {
			case c.index > 0:
				good = middle(func(*protocol.IntermediateResult) {})
			case c.index < 0:
				good = local(func(*protocol.IntermediateResult) {})
			}
			if err := s.Submit(t.Context(), good); err != nil {
				t.Fatalf("a good frame after the refused one: %v", err)
			}
			if r, ok := (<-out).(*protocol.IntermediateResult); !ok || len(r.Hidden) != 2*testHidden*4 || len(r.Hops) != index+1 {
				t.Errorf("the good frame gave %+v", r)
			}
			if n := e.Stats().Refusals[c.code]; n != 1 {
				t.Errorf("%d refusals with code %s counted, want 1", n, c.code)
			}
			s.Close()
			wantCode(t, s.Submit(t.Context(), good), protocol.CodeSessionNotFound, "has ended")
		})
	}
}
