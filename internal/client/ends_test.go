// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// endsOf loads the ends of a model.
func endsOf(f *gguf.File) *Ends {
	cfg := must(layers.ParseConfig(f.Meta))
	e := must(layers.LoadEnds(context.Background(), f, cfg, 1))
	return &Ends{Model: e, Hidden: cfg.Hidden, Vocab: cfg.Vocab}
}

// demoEnds are loaded once for all tests.
var demoEnds = sync.OnceValue(func() *Ends { return endsOf(demoFile()) })

// withEnds selects the demo model, its ends being the coordinator's.
func withEnds() Selector {
	return Selector{Model: protocol.ModelID(demoManifest().ID()).String(), Ends: demoEnds()}
}

// listener notes what a node is told and tells, wherever a token might be in it.
type listener struct {
	p2p.Node
	heard *heard
}

type heard struct {
	mu     sync.Mutex // guards the rest
	frames int
	leaks  []string
}

func (h *heard) note(f protocol.Frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.frames++
	leak := ""
	switch f := f.(type) {
	case *protocol.Open:
		if !reflect.ValueOf(f.Request.Sampling).IsZero() || f.Request.MaxTokens != 0 || f.Request.Prompt != "" {
			leak = "an Open that tells how tokens are drawn"
		}
	case *protocol.IntermediateResult:
		if f.Sample {
			leak = "a wish for a token"
		}
	}
	if hasTokens(reflect.ValueOf(f)) {
		leak = fmt.Sprintf("a %T with tokens", f)
	}
	if leak != "" {
		h.leaks = append(h.leaks, leak)
	}
}

// hasTokens reports whether a frame has a token other than 0, whatever the field.
func hasTokens(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return hasTokens(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if hasTokens(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice:
		if list, ok := v.Interface().([]protocol.TokenID); ok {
			return slices.ContainsFunc(list, func(t protocol.TokenID) bool { return t != 0 })
		}
	}
	return false
}

// quiet fails the test if a token passed, or nothing did.
func (h *heard) quiet(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.leaks) > 0 || h.frames == 0 {
		t.Errorf("of %d frames these gave tokens away: %v", h.frames, h.leaks)
	}
	h.frames, h.leaks = 0, nil
}

func (l listener) OpenSession(from string, o *protocol.Open, deliver func(protocol.Frame) error) (p2p.Session, *protocol.Opened, error) {
	l.heard.note(o)
	s, opened, err := l.Node.OpenSession(from, o, func(f protocol.Frame) error {
		l.heard.note(f)
		return deliver(f)
	})
	if err != nil {
		return nil, nil, err
	}
	return listening{s, l.heard}, opened, nil
}

func (l listener) Export(ctx context.Context, f *protocol.Export, send func(*protocol.KVRows) error) error {
	return l.Node.Export(ctx, f, func(r *protocol.KVRows) error {
		l.heard.note(r)
		return send(r)
	})
}

type listening struct {
	p2p.Session
	heard *heard
}

func (l listening) Submit(ctx context.Context, f protocol.Frame) error {
	l.heard.note(f)
	return l.Session.Submit(ctx, f)
}

// listen makes nodes note what they hear.
func (h *heard) listen(cfg *node.Config) {
	cfg.Serve = func(served p2p.Node) p2p.Node { return listener{served, h} }
}

// TestLocalEnds: with embedding, head and sampler at the coordinator the answer is that of the default route, to the last bit of each logit,
// whatever the split, the path, the chunks and the way tokens are drawn; and no token passes.
func TestLocalEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic: nothing for the race detector")
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	for _, ranges := range [][]string{{"0-31"}, {"0-0", "1-31"}, {"0-12", "13-30", "31-31"}, {"0-7", "8-15", "16-23", "24-31"}, {"0-20", "9-31"}} {
		path, chunk, wire := protocol.Path(r.IntN(2)), 1+r.IntN(20), protocol.F32
		if r.IntN(3) == 0 {
			wire = protocol.F16
		}
		sampling := protocol.Sampling{Temperature: 0.9, TopK: 40, TopP: 0.95, MinP: 0.01, RepeatPenalty: 1.2, RepeatLastN: 8, Seed: r.Uint64()}
		t.Run(fmt.Sprintf("%s path %d chunk %d wire %s", strings.Join(ranges, " "), path, chunk, wire), func(t *testing.T) {
			t.Parallel()
			var heard heard
			swarm := startHealing(t, heard.listen, named(ranges)...)
			c := join(t, swarm.first, nil)
			plain, m := find(t, c, Selector{Wire: wire})
			s := withEnds()
			s.Wire = wire
			ends, _ := find(t, c, s)
			if want := plain.Numerics + protocol.LocalEnds; ends.Numerics != want {
				t.Fatalf("numerics %q, want %q", ends.Numerics, want)
			}
			ends.Hops = plain.Hops // of overlapping nodes either may be cut: an f16 wire rounds there
			for _, req := range []*Request{
				{Prompt: question, MaxTokens: 8},
				{Prompt: "the " + question, Raw: true, MaxTokens: 12, Sampling: sampling, Stop: []string{"zebra"}},
				{Prompt: question, MaxTokens: 40, Stop: []string{"uter sys", "never"}},
			} {
				req.Path, req.ChunkRows = path, chunk
				want, wantLogits := watched(t, c, plain, m, req)
				heard.frames, heard.leaks = 0, nil
				got, gotLogits := watched(t, c, ends, m, req)
				heard.quiet(t)
				if !slices.Equal(got.Tokens, want.Tokens) || got.Text != want.Text || got.Report.Reason != want.Report.Reason {
					t.Errorf("%q (%v, %s), want %q (%v, %s)", got.Text, got.Tokens, got.Report.Reason, want.Text, want.Tokens, want.Report.Reason)
				}
				if !bytes.Equal(gotLogits, wantLogits) {
					t.Error("the logits differ")
				}
				if got.Ends <= 0 || want.Ends != 0 {
					t.Errorf("ends took %s here, without local ends %s", got.Ends, want.Ends)
				}
			}
			if wire == protocol.F32 {
				// The zeros that counted rows were no tokens: a prompt of zeros has rows of its own.
				zeros := &Request{Tokens: make([]protocol.TokenID, 24), MaxTokens: 2, Path: path}
				tokens, logits, err := measured(t.Context(), c, plain, m, zeros)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(logits, local(t, tokens, protocol.F16)) {
					t.Error("a prompt of zeros, after rows that zeros counted: the logits differ from one local pass")
				}
			}
		})
	}
}

// modest is a node of a build that knows nothing of local ends.
type modest struct{ p2p.Node }

func (m modest) Status() *protocol.Status {
	st := m.Node.Status()
	st.Numerics = slices.DeleteFunc(st.Numerics, func(id string) bool { return strings.HasSuffix(id, protocol.LocalEnds) })
	return st
}

func (m modest) OpenSession(from string, o *protocol.Open, deliver func(protocol.Frame) error) (p2p.Session, *protocol.Opened, error) {
	if o.LocalEnds() {
		return nil, nil, protocol.Errorf(protocol.CodeWrongNumerics, "this node computes with n1/kv-f16/wire-f32, not %q", o.Numerics)
	}
	return m.Node.OpenSession(from, o, deliver)
}

// TestNodesWithoutLocalEnds: routes avoid nodes that cannot leave the ends to the coordinator; where nobody else has the layers, the error says so.
func TestNodesWithoutLocalEnds(t *testing.T) {
	t.Parallel()
	swarm := startHealing(t, nil, "a:0-15")
	old, _ := startNode(t, "16-31", func(c *node.Config) {
		c.Bootstrap, c.Serve = []string{address(swarm.first)}, func(n p2p.Node) p2p.Node { return modest{n} }
	})
	c := join(t, swarm.first, nil)
	plain, m := find(t, c, Selector{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	said := ""
	_, err := c.Find(ctx, withEnds(), func(what string) {
		said = what
		cancel()
	})
	if want := "update them, or go without --local-ends"; err == nil || !strings.Contains(said, want) {
		t.Errorf("%v, after %q, want %q", err, said, want)
	}
	// One that is in a route all the same refuses by name, and the generation ends with that.
	ends := *plain
	ends.Numerics, ends.Ends = plain.Numerics+protocol.LocalEnds, demoEnds()
	_, err = c.Generate(t.Context(), &ends, m, &Request{Prompt: question, MaxTokens: 2, FailFast: true}, Observer{})
	if !errors.Is(err, &protocol.Error{Code: protocol.CodeWrongNumerics}) || !strings.Contains(err.Error(), "16-31") {
		t.Errorf("%v, want the refusal of layers 16-31", err)
	}
	startNode(t, "16-31", func(c *node.Config) { c.Bootstrap = []string{address(swarm.first)} })
	target, _ := find(t, c, withEnds())
	if target.Hops[1].Peer == old.Host().ID().String() {
		t.Error("the route goes through the node that cannot")
	}
	if r, err := c.Generate(t.Context(), target, m, &Request{Prompt: question, MaxTokens: 2}, Observer{}); err != nil || len(r.Tokens) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func named(ranges []string) []string {
	var specs []string
	for i, r := range ranges {
		specs = append(specs, fmt.Sprintf("%d:%s", i, r))
	}
	return specs
}

// watched generates and returns the logits of all rows beside the result.
func watched(t *testing.T, c *Client, target *Target, m *Model, req *Request) (*Result, []byte) {
	t.Helper()
	var logits []byte
	q := *req
	q.Logits = pipeline.LogitsPrompt
	r, err := c.Generate(t.Context(), target, m, &q, Observer{Logits: func(_ []int, rows []byte) { logits = append(logits, rows...) }})
	if err != nil {
		t.Fatal(err)
	}
	return r, logits
}
