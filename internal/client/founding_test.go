// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// These three are the tests of the founding proof of concept, on real nodes and a real model.

const (
	question = "What is artificial intelligence?"
	answer   = "Artificial intelligence (AI) is the field of building computer systems that can do tasks which normally need human intelligence,"
)

// TestSequentialProcessing: every shard computes every row, in layer order.
func TestSequentialProcessing(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, "0-7", "8-15", "16-23", "24-31")
	c := join(t, nodes[0], nil)
	target, m := find(t, c, Selector{})
	var steps [][]protocol.HopTiming
	r, err := c.Generate(t.Context(), target, m, &Request{Prompt: question, MaxTokens: 5}, Observer{Step: func(hops []protocol.HopTiming) {
		steps = append(steps, append([]protocol.HopTiming(nil), hops...))
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 5 { // the prompt in one, then one a token but the last
		t.Fatalf("%d steps for a prompt and 5 tokens", len(steps))
	}
	for s, hops := range steps {
		if len(hops) != 4 {
			t.Fatalf("step %d passed %d shards", s, len(hops))
		}
		for i, h := range hops {
			if want := (protocol.LayerRange{From: 8 * i, To: 8*i + 8}); h.Layers != want || h.Processing == 0 {
				t.Errorf("step %d, shard %d: layers %s in %d ns, want %s", s, i, h.Layers, h.Processing, want)
			}
		}
	}
	for i, p := range r.Report.Shards {
		if want := len(r.PromptTokens) + 4; p.Rows != want || p.Hop.Peer != nodes[i].Host().ID().String() {
			t.Errorf("shard %d at %s computed %d rows, want %d at %s", i, p.Hop.Peer, p.Rows, want, nodes[i].Host().ID())
		}
	}
}

// tap is a dialer that keeps what every hop sent to the coordinator.
type tap struct {
	pipeline.Dialer
	mu     sync.Mutex
	frames map[int][]*protocol.IntermediateResult // by hop
}

type tapStream struct {
	pipeline.Stream
	tap *tap
	hop int
}

func (d *tap) OpenHop(ctx context.Context, hop protocol.Hop, open *protocol.Open) (pipeline.Stream, *protocol.Opened, error) {
	s, opened, err := d.Dialer.OpenHop(ctx, hop, open)
	if err != nil {
		return nil, nil, err
	}
	return &tapStream{s, d, int(open.Index)}, opened, nil
}

func (s *tapStream) Recv() (protocol.Frame, error) {
	f, err := s.Stream.Recv()
	if r, ok := f.(*protocol.IntermediateResult); ok && err == nil {
		keep := *r
		keep.Hidden, keep.LogitRows = bytes.Clone(r.Hidden), bytes.Clone(r.LogitRows)
		keep.Generated = append([]protocol.TokenID(nil), r.Generated...)
		keep.Tokens = append([]protocol.TokenID(nil), r.Tokens...)
		s.tap.mu.Lock()
		s.tap.frames[s.hop] = append(s.tap.frames[s.hop], &keep)
		s.tap.mu.Unlock()
	}
	return f, err
}

// relayed generates over the relay path, where the coordinator sees what passes between the shards.
func relayed(t *testing.T, maxTokens uint32) (*tap, *pipeline.PipelineState) {
	t.Helper()
	nodes := startSwarm(t, "0-7", "8-15", "16-23", "24-31")
	c := join(t, nodes[0], nil)
	target, m := find(t, c, Selector{})
	_, prompt, err := m.promptTokens(&Request{Prompt: question})
	if err != nil {
		t.Fatal(err)
	}
	d := &tap{Dialer: newDialer(c, target), frames: map[int][]*protocol.IntermediateResult{}}
	state, err := pipeline.Generate(t.Context(), d, pipeline.Config{
		Session: protocol.SessionID{1}, Model: target.Model, Numerics: target.Numerics, Wire: target.Wire, Path: protocol.PathRelay,
		Route: target.Hops, Context: target.Context, End: m.Tokenizer.IsEnd,
	}, protocol.InferenceRequest{Tokens: prompt, MaxTokens: maxTokens}, pipeline.Observer{})
	if err != nil {
		t.Fatal(err)
	}
	return d, state
}

// TestDataFlow: what passes from shard to shard is, bit for bit, what one machine computes at that layer.
func TestDataFlow(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic: nothing for the race detector")
	}
	t.Parallel()
	d, _ := relayed(t, 3)
	cfg := must(layers.ParseConfig(demoFile().Meta))
	for hop := range 3 {
		r := protocol.LayerRange{From: 0, To: 8 * (hop + 1)}
		m, err := layers.Load(demoFile(), cfg, r, layers.Options{})
		if err != nil {
			t.Fatal(err)
		}
		cache := m.NewCache(100)
		var out layers.Output
		if len(d.frames[hop]) != 3 {
			t.Fatalf("hop %d sent %d results for a prompt and two tokens", hop, len(d.frames[hop]))
		}
		for i, f := range d.frames[hop] {
			if err := m.Forward(cache, layers.Input{Tokens: f.Tokens}, &out); err != nil {
				t.Fatal(err)
			}
			if want := protocol.AppendHidden(nil, out.Hidden, protocol.F32); !bytes.Equal(want, f.Hidden) {
				t.Errorf("hop %d, step %d: the hidden states differ from those of layers %s on one machine", hop, i, r)
			}
			if f.Digest != protocol.Digest(f) {
				t.Errorf("hop %d, step %d: wrong digest", hop, i)
			}
		}
		m.Close()
	}
}

// TestFinalShardGeneration: only the last shard generates, and it gives the demo model's answer.
func TestFinalShardGeneration(t *testing.T) {
	t.Parallel()
	d, state := relayed(t, 64)
	for hop := range 3 {
		for _, f := range d.frames[hop] {
			if len(f.Generated) > 0 || len(f.Hidden) == 0 {
				t.Fatalf("hop %d: %d tokens, %d bytes of hidden states", hop, len(f.Generated), len(f.Hidden))
			}
		}
	}
	var tokens []protocol.TokenID
	for _, f := range d.frames[3] {
		if len(f.Hidden) > 0 {
			t.Fatal("the last shard sent hidden states")
		}
		tokens = append(tokens, f.Generated...)
	}
	m, err := newModel(protocol.ModelID{}, demoFile().Meta)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(m.Tokenizer.Decode(tokens)); !strings.HasPrefix(text, answer) {
		t.Errorf("the answer is %q", text)
	}
	if text := string(m.Tokenizer.Decode(state.Generated())); !strings.HasPrefix(text, answer) {
		t.Errorf("the coordinator has %q", text)
	}
}
