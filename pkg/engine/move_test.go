// SPDX-License-Identifier: MIT

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// source is a node to take rows of some layers from.
type source struct {
	node
	layers protocol.LayerRange
}

// takeOver moves rows of a session from sources to its replacement, through the frames' encoding, and returns what that has then.
func takeOver(t *testing.T, to *engine.Session, kept uint32, c *chain, rows uint32, sources ...source) uint32 {
	t.Helper()
	for _, from := range sources {
		f := &protocol.Export{Session: c.id, Layers: from.layers, Numerics: from.model.Numerics(protocol.F32), Position: kept, End: rows}
		if c.ends != nil {
			f.Numerics += protocol.LocalEnds
		}
		err := from.Export(t.Context(), f, func(part *protocol.KVRows) error {
			body, err := protocol.AppendBody(nil, part)
			if err != nil {
				return err
			}
			var got protocol.KVRows
			if err := protocol.DecodeInto(body, &got); err != nil {
				return err
			}
			return to.Import(t.Context(), &got)
		})
		if err != nil {
			t.Fatalf("layers %s: %v", from.layers, err)
		}
	}
	n, err := to.Imported(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A hop of a generation that leaves, first, middle or last, hands its rows to one replacement, to two, or to a node that takes two
// hops over. Nothing is computed again, and the generation is that of an undisturbed one, logits and sampled tokens.
func TestMovedSessionIsExact(t *testing.T) {
	t.Parallel()
	want := reference(t)
	r := func(from, to int) protocol.LayerRange { return protocol.LayerRange{From: from, To: to} }
	for name, tt := range map[string]struct {
		before, after []int // cuts
		stay          map[int]int
		sources       map[int][]int // of each new hop: the old hops it takes rows from
	}{
		"the first":         {[]int{1, 3}, []int{1, 3}, map[int]int{1: 1, 2: 2}, map[int][]int{0: {0}}},
		"the middle":        {[]int{1, 3}, []int{1, 3}, map[int]int{0: 0, 2: 2}, map[int][]int{1: {1}}},
		"the last":          {[]int{1, 3}, []int{1, 3}, map[int]int{0: 0, 1: 1}, map[int][]int{2: {2}}},
		"all":               {[]int{1, 3}, []int{1, 3}, nil, map[int][]int{0: {0}, 1: {1}, 2: {2}}},
		"the last to two":   {[]int{3}, []int{3, 4}, map[int]int{0: 0}, map[int][]int{1: {1}, 2: {1}}},
		"two to one":        {[]int{1, 3}, []int{1}, map[int]int{0: 0}, map[int][]int{1: {1, 2}}},
		"all to other cuts": {[]int{1, 3}, []int{2, 5}, nil, map[int][]int{0: {0, 1}, 1: {1, 2}, 2: {2}}},
	} {
		for _, local := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, local ends %t", name, local), func(t *testing.T) {
				t.Parallel()
				rs, next := ranges(tt.before...), ranges(tt.after...)
				old := nodesFor(t, 1, rs)
				c := openEither(t, local, old, 1, protocol.F32, rs, positions, sampling)
				g := new(generation)
				last := c.prefill(g, 6)
				g.tokens = append(g.tokens, last.Generated...)
				c.send(g.tokens, []uint32{0}, true)
				last = c.recv()
				g.logits = append(g.logits, last.LogitRows)

				nodes := nodesFor(t, 1, next)
				for i, j := range tt.stay {
					nodes[i] = old[j]
				}
				c.epoch, c.step = 1, 0
				cached := c.open(nodes, protocol.F32, next, positions, sampling)
				steps := 0
				for i, from := range tt.sources {
					var sources []source
					for _, j := range from {
						sources = append(sources, source{old[j], r(max(rs[j].From, next[i].From), min(rs[j].To, next[i].To))})
					}
					cached[i] = takeOver(t, c.sessions[i], cached[i], c, c.position, sources...)
					steps += int(nodes[i].Stats().Steps)
				}
				for i, n := range cached {
					if n != c.position {
						t.Fatalf("hop %d has %d rows, want %d", i, n, c.position)
					}
				}
				if steps != 0 {
					t.Errorf("replacements computed %d steps before the first input", steps)
				}
				c.decode(g, last)
				compare(t, g, want)
			})
		}
	}
}

// A source that fails on the way leaves what all layers have; the next epoch keeps that, and takes only the rest.
func TestMoveInParts(t *testing.T) {
	t.Parallel()
	want := reference(t)
	rs := ranges(2)
	old := nodesFor(t, 1, rs)
	c := openChain(t, old, 1, protocol.F32, rs, positions, sampling)
	g := new(generation)
	last := c.prefill(g, 6)
	n := c.position

	to := nodesFor(t, 1, rs[1:])[0]
	c.epoch, c.step = 1, 0
	c.open([]node{old[0], to}, protocol.F32, rs, positions, sampling)
	low, high := source{old[1], protocol.LayerRange{From: 2, To: 4}}, source{old[1], protocol.LayerRange{From: 4, To: 6}}
	part := func(s source, from, end uint32) {
		f := &protocol.Export{Session: c.id, Layers: s.layers, Numerics: s.model.Numerics(protocol.F32), Position: from, End: end}
		if err := s.Export(t.Context(), f, func(rows *protocol.KVRows) error { return c.sessions[1].Import(t.Context(), rows) }); err != nil {
			t.Fatal(err)
		}
	}
	part(low, 0, n)
	part(high, 0, 3)
	if rows, err := c.sessions[1].Imported(t.Context()); rows != 3 || err != nil {
		t.Fatalf("%d rows, %v: want the 3 that all layers have", rows, err)
	}

	c.epoch = 2
	if cached := c.open([]node{old[0], to}, protocol.F32, rs, positions, sampling); !slices.Equal(cached, []uint32{n, 3}) {
		t.Fatalf("the hops have %v rows, want %d and 3", cached, n)
	}
	if rows := takeOver(t, c.sessions[1], 3, c, n, low, high); rows != n {
		t.Fatalf("%d rows, want %d", rows, n)
	}
	c.decode(g, last)
	compare(t, g, want)
}

// The other session's steps go on while rows are given away.
func TestExportDelaysNoStep(t *testing.T) {
	t.Parallel()
	bubble(t, virtual, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		out := make(chan *protocol.IntermediateResult, 1)
		a := open(t, e, m, 1, results(func(r *protocol.IntermediateResult) { out <- r }))
		if err := a.Submit(t.Context(), &protocol.Step{Session: protocol.SessionID{1}, Tokens: prompt}); err != nil {
			t.Fatal(err)
		}
		<-out
		b := open(t, e, m, 2, results(func(r *protocol.IntermediateResult) { out <- r }))
		f := &protocol.Export{Session: protocol.SessionID{1}, Layers: m.Range(), Numerics: m.Numerics(protocol.F32), End: uint32(len(prompt))}
		parts := 0
		moved := make(chan error, 1)
		go func() {
			moved <- e.Export(t.Context(), f, func(*protocol.KVRows) error {
				parts++
				time.Sleep(time.Second) // a slow network
				return nil
			})
		}()
		start := time.Now()
		for i := range uint32(20) {
			if err := b.Submit(t.Context(), token(2, 0, i)); err != nil {
				t.Fatal(err)
			}
			<-out
		}
		if took := time.Since(start); took != 20*11*time.Millisecond {
			t.Errorf("20 steps of 11 ms took %v beside the export", took)
		}
		if err := <-moved; err != nil || parts == 0 {
			t.Errorf("%d parts, %v", parts, err)
		}
	})
}

// The one that gives rows away refuses what it does not have, and goes on.
func TestExportRefusals(t *testing.T) {
	t.Parallel()
	rs := ranges(2)
	nodes := nodesFor(t, 1, rs)
	c := openChain(t, nodes, 1, protocol.F32, rs, positions, sampling)
	c.prefill(new(generation), 6)
	for name, tt := range map[string]struct {
		change func(*protocol.Export)
		code   protocol.Code
		words  string
	}{
		"another session": {func(f *protocol.Export) { f.Session[0]++ }, protocol.CodeSessionNotFound, "is not open here"},
		"numerics":        {func(f *protocol.Export) { f.Numerics = "n1/kv-f32/wire-f32" }, protocol.CodeWrongNumerics, "numerics"},
		"local ends":      {func(f *protocol.Export) { f.Numerics += protocol.LocalEnds }, protocol.CodeWrongNumerics, "not \"n1/kv-f16/wire-f32/local-ends\""},
		"layers":          {func(f *protocol.Export) { f.Layers.From = 1 }, protocol.CodeWrongLayers, "has layers 2-5"},
		"no layers":       {func(f *protocol.Export) { f.Layers.To = 2 }, protocol.CodeWrongLayers, ""},
		"rows":            {func(f *protocol.Export) { f.End++ }, protocol.CodeOutOfOrder, "has 20 here"},
		"no rows":         {func(f *protocol.Export) { f.Position = f.End }, protocol.CodeOutOfOrder, ""},
	} {
		f := &protocol.Export{Session: c.id, Layers: rs[1], Numerics: nodes[1].model.Numerics(protocol.F32), End: 20}
		tt.change(f)
		err := nodes[1].Export(t.Context(), f, func(*protocol.KVRows) error {
			t.Errorf("%s: rows were sent", name)
			return nil
		})
		var refusal *protocol.Error
		if !errors.As(err, &refusal) {
			t.Fatalf("%s: %v", name, err)
		}
		if name == "another session" {
			refusal.Session, refusal.Peer = c.id, "test-peer" // nobody's: the frame says whose
		}
		wantCode(t, err, tt.code, tt.words)
	}
	// A receiver that breaks off, or gives up.
	f := &protocol.Export{Session: c.id, Layers: rs[1], Numerics: nodes[1].model.Numerics(protocol.F32), End: 20}
	broken := errors.New("broken")
	if err := nodes[1].Export(t.Context(), f, func(*protocol.KVRows) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := nodes[1].Export(ctx, f, func(*protocol.KVRows) error { return nil }); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.send(prompt[:1], nil, true)
	if r := c.recv(); len(r.Generated) != 1 {
		t.Errorf("the session did not go on: %+v", r)
	}
}

// Parts that do not fit are refused one by one and change nothing: a good one is still taken.
func TestImportRefusals(t *testing.T) {
	t.Parallel()
	rs := ranges(2)
	nodes := nodesFor(t, 1, rs)
	c := openChain(t, nodes, 1, protocol.F32, rs, positions, sampling)
	c.prefill(new(generation), 6)
	to := nodesFor(t, 1, rs[1:])[0]
	o := openFrame(to.model, 1, protocol.F32, rs, 1, positions)
	s, _, err := to.Open(testPeer, o, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	good := func(n int) *protocol.KVRows {
		var part *protocol.KVRows
		f := &protocol.Export{Session: c.id, Layers: rs[1], Numerics: nodes[1].model.Numerics(protocol.F32), End: uint32(n)}
		if err := nodes[1].Export(t.Context(), f, func(rows *protocol.KVRows) error {
			part = &protocol.KVRows{Session: rows.Session, Layers: rows.Layers, Position: rows.Position, Rows: rows.Rows, Tokens: slices.Clone(rows.Tokens), KV: slices.Clone(rows.KV), Digest: rows.Digest}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return part
	}
	for name, tt := range map[string]struct {
		spoil func(*protocol.KVRows)
		code  protocol.Code
		words string
	}{
		"damaged":         {func(f *protocol.KVRows) { f.KV[5] ^= 1; f.Digest[0] ^= 1 }, protocol.CodeBadFrame, "damaged"},
		"another session": {func(f *protocol.KVRows) { f.Session[0]++ }, protocol.CodeBadFrame, "want layers 2-5"},
		"layers":          {func(f *protocol.KVRows) { f.Layers.From-- }, protocol.CodeBadFrame, "want layers 2-5"},
		"fewer layers":    {func(f *protocol.KVRows) { f.Layers.From++ }, protocol.CodeBadFrame, "bytes for 4 rows"},
		"a gap":           {func(f *protocol.KVRows) { f.Position++ }, protocol.CodeOutOfOrder, "the next is row 0"},
		"no room":         {func(f *protocol.KVRows) { f.Position = positions - 3 }, protocol.CodeTooLong, "reserved 40"},
		"a byte less":     {func(f *protocol.KVRows) { f.KV = f.KV[1:] }, protocol.CodeBadFrame, "bytes for 4 rows"},
		"no history":      {func(f *protocol.KVRows) { f.Tokens = nil }, protocol.CodeBadFrame, "0 tokens with 4 rows"},
		"no such token":   {func(f *protocol.KVRows) { f.Tokens[3] = testVocab }, protocol.CodeBadFrame, "outside the vocabulary"},
	} {
		f := good(4)
		tt.spoil(f)
		if name != "damaged" {
			f.Digest = protocol.KVDigest(f)
		}
		err := s.Import(t.Context(), f)
		if err == nil {
			t.Fatalf("%s: taken", name)
		}
		wantCode(t, err, tt.code, tt.words)
	}
	if err := s.Import(t.Context(), good(4)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Import(t.Context(), good(4)), protocol.CodeOutOfOrder, "the next is row 4")
	if n, err := s.Imported(t.Context()); n != 4 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	// Its own inputs go on from there, and then nothing is taken over any more.
	in := &protocol.IntermediateResult{Session: o.Session, Position: 4, Tokens: prompt[:1], DType: protocol.F32, Hidden: make([]byte, testHidden*4)}
	if err := s.Submit(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Import(t.Context(), good(5)), protocol.CodeSessionNotFound, "has begun")
	s.Close()
	wantCode(t, s.Import(t.Context(), good(5)), protocol.CodeSessionNotFound, "")
	if _, err := s.Imported(t.Context()); err == nil {
		t.Error("a session that has ended took rows over")
	}
}

// A session that is replaced while rows come in keeps what it had, not what came; and the loop's end ends who waits for it.
func TestImportIsCutShort(t *testing.T) {
	t.Parallel()
	rs := ranges(2)
	nodes := nodesFor(t, 1, rs)
	c := openChain(t, nodes, 1, protocol.F32, rs, positions, sampling)
	c.prefill(new(generation), 6)
	to := nodesFor(t, 1, rs[1:])[0]
	o := openFrame(to.model, 1, protocol.F32, rs, 1, positions)
	first, _, err := to.Open(testPeer, o, discard)
	if err != nil {
		t.Fatal(err)
	}
	f := &protocol.Export{Session: c.id, Layers: rs[1], Numerics: nodes[1].model.Numerics(protocol.F32), End: 5}
	if err := nodes[1].Export(t.Context(), f, func(part *protocol.KVRows) error { return first.Import(t.Context(), part) }); err != nil {
		t.Fatal(err)
	}
	o.Epoch = 1
	second, opened, err := to.Open(testPeer, o, discard)
	if err != nil || opened.CachedTo != 0 {
		t.Fatalf("%+v, %v: want no rows", opened, err)
	}
	if n, err := first.Imported(t.Context()); n != 0 || err == nil && n > 0 {
		t.Errorf("the old epoch has %d rows, %v", n, err)
	}
	if n := takeOver(t, second, 0, c, 20, source{nodes[1], rs[1]}); n != 20 {
		t.Errorf("%d rows, want 20", n)
	}
	second.Close()
}

// Draining refuses what is new and serves what is open, a higher epoch of it included; the last session's end ends it.
func TestDrain(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		s := open(t, e, m, 1, discard)
		e.Drain()
		e.Drain() // again is harmless
		o := openFrame(m, 2, protocol.F32, ranges(), 0, testContext)
		_, _, err := e.Open(testPeer, o, discard)
		wantCode(t, err, protocol.CodeDraining, "leaving")
		if !e.Stats().Draining {
			t.Error("the engine does not say that it drains")
		}
		drained := make(chan error, 1)
		go func() { drained <- e.Drained(t.Context()) }()
		o = openFrame(m, 1, protocol.F32, ranges(), 0, testContext)
		o.Epoch = 1
		again, _, err := e.Open(testPeer, o, discard)
		if err != nil {
			t.Fatalf("a higher epoch of an open session: %v", err)
		}
		s.Close()
		synctest.Wait()
		select {
		case err := <-drained:
			t.Fatalf("drained with a session open: %v", err)
		default:
		}
		again.Close()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.Drained(ctx); err != nil {
			t.Errorf("drained already: %v", err)
		}
	})
}

// FuzzImport gives a session arbitrary parts of a KV cache. Whatever comes, it neither panics nor ends, what is refused changes
// nothing, and the rows that were taken are the bytes that came.
func FuzzImport(f *testing.F) {
	rs := ranges(2)
	m := loadModel(f, rs[1], 1)
	f.Add([]byte{0, 1, 4, 0, 3})
	f.Add([]byte{0, 3, 4, 0, 3, 3, 2, 2, 0, 1, 3, 0, 4, 0, 9})
	f.Fuzz(func(t *testing.T, script []byte) {
		e := start(t, m, nil)
		o := openFrame(m, 1, protocol.F32, rs, 1, 16)
		s, _, err := e.Open(testPeer, o, discard)
		if err != nil {
			t.Fatal(err)
		}
		filled := make([]uint32, rs[1].Len())
		row := m.NewCache(1).RowBytes(1)
		for len(script) >= 5 {
			b := script[:5] // position, rows, layers, first layer, fill
			script = script[5:]
			part := &protocol.KVRows{Session: o.Session, Position: uint32(b[0]), Rows: uint32(b[1]), Layers: protocol.LayerRange{From: 2 + int(b[3]%8), To: 2 + int(b[3]%8) + int(b[2]%8)}}
			part.KV = slices.Repeat([]byte{b[4]}, int(b[1]%20)*row*max(1, part.Layers.Len()))
			if part.Layers.To == testLayers {
				part.Tokens = make([]protocol.TokenID, part.Rows)
			}
			part.Digest = protocol.KVDigest(part)
			if s.Import(t.Context(), part) != nil {
				continue
			}
			for l := part.Layers.From; l < part.Layers.To; l++ {
				if filled[l-2] != part.Position || part.Rows == 0 {
					t.Fatalf("layer %d had %d rows and took %+v", l, filled[l-2], part)
				}
				filled[l-2] += part.Rows
			}
		}
		want := slices.Min(filled)
		if n, err := s.Imported(t.Context()); n != want || err != nil {
			t.Fatalf("%d rows, %v: want %d", n, err, want)
		}
		if want == 0 || want == 16 {
			return
		}
		in := &protocol.IntermediateResult{Session: o.Session, Position: want, Tokens: prompt[:1], DType: protocol.F32, Hidden: make([]byte, testHidden*4)}
		if err := s.Submit(t.Context(), in); err != nil {
			t.Fatal(fmt.Errorf("after %d rows: %w", want, err))
		}
	})
}

// Sessions end at any moment, also while their rows are read or written: the memory stays until the copy is done, and is free then.
func TestSessionEndsWhileRowsMove(t *testing.T) {
	t.Parallel()
	rs := ranges(2)
	nodes := nodesFor(t, 1, rs)
	to := nodesFor(t, 1, rs[1:])[0]
	for i := range 150 {
		id := byte(i)
		c := openChain(t, nodes, id, protocol.F32, rs, positions, sampling)
		c.prefill(new(generation), 20)
		o := openFrame(to.model, id, protocol.F32, rs, 1, positions)
		s, _, err := to.Open(testPeer, o, discard)
		if err != nil {
			t.Fatal(err)
		}
		moved := make(chan struct{})
		go func() {
			defer close(moved)
			for range 20 {
				f := &protocol.Export{Session: c.id, Layers: rs[1], Numerics: nodes[1].model.Numerics(protocol.F32), End: 20}
				_ = nodes[1].Export(context.Background(), f, func(part *protocol.KVRows) error { return s.Import(context.Background(), part) })
			}
		}()
		for range i * 37 % 400 { // somewhere in between
			_ = to.Stats()
			_ = nodes[1].Stats()
		}
		if i%2 == 0 {
			c.sessions[1].Close()
			s.Close()
		} else {
			s.Close()
			c.sessions[1].Close()
		}
		<-moved
		c.sessions[0].Close()
		if used := to.Stats().KVUsed + nodes[1].Stats().KVUsed; used != 0 {
			t.Fatalf("round %d: %d bytes are left", i, used)
		}
	}
}
