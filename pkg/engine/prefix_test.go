// SPDX-License-Identifier: MIT

package engine_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// remembering gives an engine a cache for so many pages.
func remembering(m *layers.Model, pages int64) func(*engine.Config) {
	return func(c *engine.Config) { c.PrefixCache = pages * m.PageBytes() }
}

// rememberingNodes starts one engine for each range, with a cache for so many pages each.
func rememberingNodes(t *testing.T, pages int64, rs []protocol.LayerRange) []node {
	nodes := make([]node, len(rs))
	for i, r := range rs {
		m := loadModel(t, r, 1)
		nodes[i] = node{start(t, m, remembering(m, pages)), m}
	}
	return nodes
}

// begin opens a session for a prompt and prefills what its hops do not have of it. It returns the rows each of them had.
func (c *chain) begin(nodes []node, rs []protocol.LayerRange, tokens []protocol.TokenID, chunk int) []uint32 {
	c.t.Helper()
	c.prefix = tokens[:len(tokens)-1]
	cached := c.open(nodes, protocol.F32, rs, testContext, sampling)
	if slices.Max(cached) > 0 {
		c.resume(tokens, uint32(len(c.prefix)), chunk)
	}
	for part := range slices.Chunk(tokens[c.position:], chunk) {
		last := int(c.position)+len(part) == len(tokens)
		var logits []uint32
		if last {
			logits = []uint32{uint32(len(part) - 1)}
		}
		c.send(part, logits, last)
	}
	return cached
}

// answer takes the answers up to the prompt's last, and n tokens.
func (c *chain) answer(n int) *generation {
	c.t.Helper()
	g := new(generation)
	for {
		r := c.recv()
		if len(r.Generated) == 0 {
			continue
		}
		g.tokens, g.logits = append(g.tokens, r.Generated...), append(g.logits, r.LogitRows)
		if len(g.tokens) == n {
			return g
		}
		c.send(r.Generated, []uint32{0}, true)
	}
}

func (c *chain) close() {
	for _, s := range c.sessions {
		s.Close()
	}
}

func newChain(t testing.TB, id byte) *chain {
	return &chain{t: t, id: protocol.SessionID{id}, out: make(chan protocol.Frame, 256)}
}

// fresh is what a prompt gives on nodes that remember nothing.
func fresh(t *testing.T, rs []protocol.LayerRange, tokens []protocol.TokenID, n int) *generation {
	t.Helper()
	nodes := nodesFor(t, 1, rs)
	c := newChain(t, 1)
	if cached := c.begin(nodes, rs, tokens, 50); slices.Max(cached) != 0 {
		t.Fatalf("nodes that remember nothing have %v rows", cached)
	}
	return c.answer(n)
}

// A prompt that comes again, longer, shorter or with another end, is computed from where it is new on, with the same bits; also while the
// session is open that it is known of.
func TestPrefixIsReused(t *testing.T) {
	t.Parallel()
	rs := ranges(2, 4)
	nodes := rememberingNodes(t, 20, rs)
	base := long(2*layers.PageRows + 9)
	other := slices.Concat(base[:layers.PageRows+40], []protocol.TokenID{1, 2, 3}, base[:30])
	for i, c := range []struct {
		name   string
		tokens []protocol.TokenID
		cached uint32
		open   bool // the session stays
	}{
		{"first", base, 0, true},
		{"again, while the first is open", base, 2 * layers.PageRows, false},
		{"again", base, 2*layers.PageRows + 8, false},
		{"another end", other, layers.PageRows + 40, false},
		{"a page", base[:layers.PageRows], layers.PageRows - 1, false},
		{"a page and a row", base[:layers.PageRows+1], layers.PageRows, false},
		{"shorter", base[:70], 69, false},
		{"one token", base[:1], 0, false},
		{"other from the start", long(40)[1:], 0, false},
		{"with what was answered", nil, 2*layers.PageRows + 9 + 4, false},
	} {
		t.Run(c.name, func(sub *testing.T) {
			if c.tokens == nil {
				c.tokens = slices.Concat(base, fresh(t, rs, base, 5).tokens)
			}
			want := fresh(t, rs, c.tokens, 5)
			ch := newChain(t, byte(i+1))
			if got := ch.begin(nodes, rs, c.tokens, 50); !slices.Equal(got, []uint32{c.cached, c.cached, c.cached}) {
				sub.Errorf("the hops had %v rows, want %d", got, c.cached)
			}
			compare(sub, ch.answer(5), want)
			if !c.open {
				ch.close()
			}
		})
	}
	for _, n := range nodes {
		if st := n.Stats(); st.KVCached == 0 || st.KVCached > 20*n.model.PageBytes() {
			t.Errorf("%+v", st)
		}
	}
}

// Only who gave the rows, over the same hops, gets them again: a peer may have sent hidden states that are not those of the tokens, a hop may
// have computed other ones.
func TestPrefixesAreApart(t *testing.T) {
	t.Parallel()
	rs := ranges(2)
	m := loadModel(t, rs[1], 1)
	e := start(t, m, remembering(m, 9))
	tokens := long(layers.PageRows + 2)
	frame := func(id byte, change func(*protocol.Open)) *protocol.Open {
		o := openFrame(m, id, protocol.F32, rs, 1, testContext)
		o.Prefix = tokens
		if change != nil {
			change(o)
		}
		return o
	}
	o := frame(1, nil)
	done := make(chan struct{}, 1)
	s, _, err := e.Open("one", o, results(func(*protocol.IntermediateResult) { done <- struct{}{} }))
	if err != nil {
		t.Fatal(err)
	}
	in := &protocol.IntermediateResult{Session: o.Session, Tokens: tokens, DType: protocol.F32, Hidden: make([]byte, len(tokens)*testHidden*4)}
	if err := s.Submit(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	<-done
	s.Close()
	for i, c := range []struct {
		name   string
		peer   string
		change func(*protocol.Open)
		want   int
	}{
		{"the same", "one", nil, len(tokens)},
		{"another peer", "two", nil, 0},
		{"another hop before", "one", func(o *protocol.Open) { o.Route[0].Peer = "q" }, 0},
		{"relayed", "one", func(o *protocol.Open) { o.Path = protocol.PathRelay }, 0},
		{"the same with fewer positions", "one", func(o *protocol.Open) { o.Positions = 7; o.Prefix = tokens[:7] }, 7},
		{"other layers", "one", func(o *protocol.Open) {
			o.Route = append(o.Route[:1], protocol.Hop{Peer: "p", Layers: protocol.LayerRange{From: 2, To: 4}}, protocol.Hop{Peer: "q", Layers: protocol.LayerRange{From: 4, To: testLayers}})
		}, 0},
		{"another wire", "one", func(o *protocol.Open) { o.Wire, o.Numerics = protocol.F16, m.Numerics(protocol.F16) }, 0},
	} {
		s, opened, err := e.Open(c.peer, frame(byte(i+2), c.change), discard)
		if err != nil {
			t.Fatal(err)
		}
		if int(opened.CachedTo) != c.want {
			t.Errorf("%s: %d rows, want %d", c.name, opened.CachedTo, c.want)
		}
		s.Close()
	}
}

// A hop that remembers a prefix gives its outputs to one that does not, and a replacement of a hop is fed from what the others remember.
func TestPrefixHeals(t *testing.T) {
	t.Parallel()
	rs := ranges(2, 4)
	nodes := rememberingNodes(t, 20, rs)
	tokens := long(layers.PageRows + 60)
	want := fresh(t, rs, tokens, 8)
	first := newChain(t, 1)
	first.begin(nodes, rs, tokens, 64)
	compare(t, first.answer(8), want)
	first.close()

	computed := func(i int) uint64 { return nodes[i].Stats().Rows }
	for lost := range rs {
		before := computed(0) + computed(1) + computed(2)
		replaced := slices.Clone(nodes)
		replaced[lost] = nodesFor(t, 1, rs[lost:lost+1])[0]
		c := newChain(t, byte(lost+2))
		cached := c.begin(replaced, rs, tokens, 64)
		for i, n := range cached {
			if want := uint32(len(tokens) - 1); i == lost && n != 0 || i != lost && n != want {
				t.Errorf("without hop %d: hop %d had %d rows", lost, i, n)
			}
		}
		compare(t, c.answer(8), want)
		c.close()
		if rows := computed(0) + computed(1) + computed(2) - before; rows != 2*8 {
			t.Errorf("without hop %d: the others computed %d rows, want only the last of the prompt and the answer", lost, rows)
		}
	}

	// The hop is lost in the middle of the answer.
	c := newChain(t, 9)
	c.begin(nodes, rs, tokens, 64)
	g := c.answer(4)
	c.epoch++
	replaced := slices.Clone(nodes)
	replaced[1] = nodesFor(t, 1, rs[1:2])[0]
	c.sessions[1].Close()
	c.open(replaced, protocol.F32, rs, testContext, sampling)
	known := slices.Concat(tokens, g.tokens)
	c.resume(known, uint32(len(known)-1), 64)
	c.send(known[len(known)-1:], []uint32{0}, true)
	rest := c.answer(4)
	compare(t, &generation{tokens: slices.Concat(g.tokens, rest.tokens), logits: slices.Concat(g.logits, rest.logits)}, want)
}

// What is remembered never takes more than it may, gives way to sessions, and goes with the engine; whatever comes and goes, each session
// has the tokens it has alone.
func TestPrefixCacheIsBounded(t *testing.T) {
	t.Parallel()
	m := loadModel(t, ranges()[0], 1)
	const pages = 4
	e := start(t, m, func(c *engine.Config) {
		remembering(m, pages)(c)
		c.KVBudget = 8 * m.PageBytes()
		c.ReplayBudget = 1 << 20
	})
	nodes := []node{{e, m}}
	random := rand.New(rand.NewPCG(5, 5))
	prompts := make([][]protocol.TokenID, 7)
	wants := make([]*generation, len(prompts))
	for i := range prompts {
		prompts[i] = slices.Concat(long(1+random.IntN(200)), []protocol.TokenID{protocol.TokenID(i)}, long(1+random.IntN(80)))
		wants[i] = fresh(t, ranges(), prompts[i], 3)
	}
	hits := 0
	for round := range 60 {
		i := random.IntN(len(prompts))
		c := newChain(t, byte(round+1))
		if c.begin(nodes, ranges(), prompts[i], 64)[0] > 0 {
			hits++
		}
		if random.IntN(4) > 0 {
			compare(t, c.answer(3), wants[i])
		}
		if random.IntN(3) == 0 { // speculation that fails
			c.truncate(c.position - 1)
			c.send([]protocol.TokenID{9, 9}, nil, false)
		}
		c.close()
		if st := e.Stats(); st.KVCached > pages*m.PageBytes() || st.KVUsed+st.KVCached > st.KVMax {
			t.Fatalf("round %d: %+v", round, st)
		}
	}
	if hits < 10 {
		t.Errorf("%d prompts of 60 were known", hits)
	}
}

// Steps of a session that began in known pages do not touch those: others still find what was there.
func TestKnownPagesAreNotWritten(t *testing.T) {
	t.Parallel()
	m := loadModel(t, ranges()[0], 1)
	nodes := []node{{start(t, m, remembering(m, 9)), m}}
	tokens := long(2 * layers.PageRows)
	want := fresh(t, ranges(), tokens, 4)
	for i := range byte(3) {
		c := newChain(t, 3*i+1)
		c.begin(nodes, ranges(), tokens, 64)
		compare(t, c.answer(4), want)
		c.close()
		// Another one goes back into the known pages and on with other tokens.
		c = newChain(t, 3*i+2)
		c.begin(nodes, ranges(), tokens, 64)
		c.answer(1)
		c.truncate(layers.PageRows / 2)
		c.send(long(layers.PageRows)[3:], nil, false)
		for f := range c.out {
			if r, ok := f.(*protocol.IntermediateResult); ok && r.Position == layers.PageRows/2 {
				break
			}
		}
		c.close()
	}
}
