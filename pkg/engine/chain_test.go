// SPDX-License-Identifier: MIT

package engine_test

import (
	"context"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testID = protocol.ModelID{1}

// start runs an engine over a model until the test ends.
func start(t testing.TB, m *layers.Model, change func(*engine.Config)) *engine.Engine {
	t.Helper()
	cfg := engine.Config{Model: m, ModelID: testID, Peer: "test-peer"}
	if change != nil {
		change(&cfg)
	}
	e, err := engine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if s := e.Stats(); s.Sessions != 0 || s.KVUsed != 0 || s.Buffered != 0 || s.KeptUsed != 0 {
			t.Errorf("after Run: %d sessions, %d bytes of KV memory, %d of buffers and %d of outputs are left", s.Sessions, s.KVUsed, s.Buffered, s.KeptUsed)
		}
	})
	return e
}

// ranges cuts all layers of the test model before each of cuts.
func ranges(cuts ...int) []protocol.LayerRange {
	var rs []protocol.LayerRange
	from := 0
	for _, to := range append(cuts, testLayers) {
		rs = append(rs, protocol.LayerRange{From: from, To: to})
		from = to
	}
	return rs
}

// openFrame returns the frame that opens hop index of a route over rs.
func openFrame(m *layers.Model, session byte, wire protocol.DType, rs []protocol.LayerRange, index, positions int) *protocol.Open {
	o := &protocol.Open{
		Session: protocol.SessionID{session}, Model: testID, Numerics: m.Numerics(wire), Wire: wire,
		Index: uint32(index), Positions: uint32(positions),
	}
	for i, r := range rs {
		o.Route = append(o.Route, protocol.Hop{Peer: "p", Layers: r})
		if i > 0 && wire != protocol.F32 {
			o.Rounds = append(o.Rounds, uint32(r.From))
		}
	}
	return o
}

// node is an engine with its model.
type node struct {
	*engine.Engine
	model *layers.Model
}

// chain is a session along nodes of one process: each hop delivers straight into the next.
type chain struct {
	t        testing.TB
	sessions []*engine.Session
	opened   []protocol.Opened
	out      chan protocol.Frame // what reaches the coordinator, copied
	id       protocol.SessionID
	epoch    protocol.Epoch
	step     uint32
	position uint32
	prefix   []protocol.TokenID // named when the session opens
	rounds   []uint32           // of the session; nil: the boundaries of the route being opened, if its wire rounds
	ends     *pipeline.Ends     // of a session whose ends are the coordinator's; nil: the hops'
}

func openChain(t testing.TB, nodes []node, id byte, wire protocol.DType, rs []protocol.LayerRange, positions int, sampling protocol.Sampling) *chain {
	t.Helper()
	return openEither(t, false, nodes, id, wire, rs, positions, sampling)
}

// openEither is openChain, if local with a coordinator that has the model's ends: hops see no tokens, and what the chain gives must be the same.
func openEither(t testing.TB, local bool, nodes []node, id byte, wire protocol.DType, rs []protocol.LayerRange, positions int, sampling protocol.Sampling) *chain {
	t.Helper()
	c := &chain{t: t, id: protocol.SessionID{id}, out: make(chan protocol.Frame, 256)}
	if local {
		c.ends = newEnds(t, sampling)
	}
	if cached := c.open(nodes, wire, rs, positions, sampling); slices.Max(cached) != 0 {
		t.Fatalf("fresh sessions have %v rows", cached)
	}
	return c
}

// open opens the chain's epoch at every hop and returns the rows each has already.
func (c *chain) open(nodes []node, wire protocol.DType, rs []protocol.LayerRange, positions int, sampling protocol.Sampling) []uint32 {
	c.t.Helper()
	cached := make([]uint32, len(rs))
	c.sessions, c.opened = make([]*engine.Session, len(rs)), make([]protocol.Opened, len(rs))
	for i := len(rs) - 1; i >= 0; i-- {
		deliver := func(f protocol.Frame) error {
			c.out <- clone(f)
			return nil
		}
		if i < len(rs)-1 {
			next := c.sessions[i+1]
			last := deliver
			deliver = func(f protocol.Frame) error {
				if f.FrameType() == protocol.TypeError {
					return last(f)
				}
				return next.Submit(context.Background(), f)
			}
		}
		o := openFrame(nodes[i].model, c.id[0], wire, rs, i, positions)
		o.Epoch, o.Request.Sampling, o.Prefix = c.epoch, sampling, c.prefix
		if c.rounds != nil {
			o.Rounds = c.rounds
		}
		if c.ends != nil {
			o = c.ends.Open(o)
			o.Numerics += protocol.LocalEnds
		}
		s, opened, err := nodes[i].Open(testPeer, o, deliver)
		if err != nil {
			c.t.Fatalf("open hop %d: %v", i, err)
		}
		if opened.Session != c.id || opened.Epoch != c.epoch || opened.KVBytes == 0 {
			c.t.Fatalf("hop %d opened %+v", i, opened)
		}
		c.sessions[i], c.opened[i], cached[i] = s, *opened, opened.CachedTo
		c.t.Cleanup(s.Close)
	}
	return cached
}

// newEnds returns the ends of a session of the test model.
func newEnds(t testing.TB, sampling protocol.Sampling) *pipeline.Ends {
	t.Helper()
	f, err := gguf.Parse(testFile())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := layers.ParseConfig(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	m, err := layers.LoadEnds(t.Context(), f, cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	s := sampler.New(testVocab)
	return pipeline.NewEnds(pipeline.EndsConfig{
		Model: m, Hidden: testHidden, Vocab: testVocab, Sampling: sampling,
		Draw: func(logits []float32, history []protocol.TokenID, p protocol.Sampling) protocol.TokenID {
			return s.Sample(logits, history, uint32(len(history)), p)
		},
	})
}

// submit hands the first hop an input.
func (c *chain) submit(f protocol.Frame) error {
	if c.ends != nil {
		var err error
		if f, err = c.ends.Enter(f); err != nil {
			return err
		}
	}
	return c.sessions[0].Submit(context.Background(), f)
}

// send submits a step over tokens.
func (c *chain) send(tokens []protocol.TokenID, logits []uint32, sample bool) {
	c.t.Helper()
	err := c.submit(&protocol.Step{
		Session: c.id, Epoch: c.epoch, Step: c.step, Position: c.position, Tokens: tokens, Logits: logits, Sample: sample,
	})
	if err != nil {
		c.t.Fatalf("step %d: %v", c.step, err)
	}
	c.step++
	c.position += uint32(len(tokens))
}

func (c *chain) truncate(position uint32) {
	c.t.Helper()
	if err := c.submit(&protocol.Truncate{Session: c.id, Epoch: c.epoch, Step: c.step, Position: position}); err != nil {
		c.t.Fatalf("truncate to %d: %v", position, err)
	}
	c.step++
	c.position = position
}

// resume makes hops with different numbers of rows go on together from the row at answered on, whose answer is wanted. It feeds the rows before
// it again, in chunks, and returns how many rows each hop kept.
func (c *chain) resume(tokens []protocol.TokenID, answered uint32, chunk int) []uint32 {
	c.t.Helper()
	rows := make([]uint32, len(c.opened))
	for i := len(rows) - 1; i >= 0; i-- {
		rows[i] = min(c.opened[i].CachedTo, answered)
		if i+1 < len(rows) && rows[i+1] < rows[i] && c.opened[i].KeptTo < rows[i] {
			rows[i] = max(rows[i+1], c.opened[i].KeptTo) // outputs are missing: compute them again
		}
	}
	if err := c.submit(&protocol.Resume{Session: c.id, Epoch: c.epoch, Rows: rows}); err != nil {
		c.t.Fatalf("resume with %v rows: %v", rows, err)
	}
	if echo, ok := (<-c.out).(*protocol.Resume); !ok || !slices.Equal(echo.Rows, rows) || echo.Epoch != c.epoch {
		c.t.Fatalf("the resume came back as %+v", echo)
	}
	c.step, c.position = 1, slices.Min(rows)
	for c.position < answered {
		end := min(c.position+uint32(chunk), answered)
		for _, n := range rows {
			if c.position < n && n < end {
				end = n
			}
		}
		c.send(tokens[c.position:end], nil, false)
		if r := c.recv(); len(r.Generated) > 0 || len(r.LogitRows) > 0 || len(r.Hops) != len(rows) {
			c.t.Fatalf("rows fed again were answered with %+v", r)
		}
	}
	return rows
}

// recv returns the next result, which must be a plain one.
func (c *chain) recv() *protocol.IntermediateResult {
	c.t.Helper()
	f := <-c.out
	r, ok := f.(*protocol.IntermediateResult)
	if !ok {
		c.t.Fatalf("the route answered %T: %v", f, f)
	}
	if c.ends != nil {
		if slices.ContainsFunc(r.Tokens, func(t protocol.TokenID) bool { return t != 0 }) || len(r.Generated) > 0 {
			c.t.Fatalf("the last hop knows tokens: %+v", r)
		}
		if err := c.ends.Leave(r); err != nil {
			c.t.Fatal(err)
		}
	}
	return r
}

// clone copies a frame as the network would: the engine uses its buffers again.
func clone(f protocol.Frame) protocol.Frame {
	switch f := f.(type) {
	case *protocol.IntermediateResult:
		c := *f
		c.Tokens, c.Logits, c.Generated = slices.Clone(f.Tokens), slices.Clone(f.Logits), slices.Clone(f.Generated)
		c.Hidden, c.LogitRows, c.Hops = slices.Clone(f.Hidden), slices.Clone(f.LogitRows), slices.Clone(f.Hops)
		return &c
	case *protocol.Truncate:
		c := *f
		return &c
	case *protocol.Resume:
		c := *f
		c.Rows = slices.Clone(f.Rows)
		return &c
	}
	return f
}
