// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// local computes the logits of every row of tokens in one pass on one machine.
func local(t *testing.T, tokens []protocol.TokenID, kv protocol.DType) []byte {
	t.Helper()
	cfg := must(layers.ParseConfig(demoFile().Meta))
	m, err := layers.Load(demoFile(), cfg, protocol.LayerRange{From: 0, To: cfg.NLayers}, layers.Options{KV: kv})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	in := layers.Input{Tokens: tokens}
	for r := range tokens {
		in.Logits = append(in.Logits, uint32(r))
	}
	var out layers.Output
	if err := m.Forward(m.NewCache(len(tokens)), in, &out); err != nil {
		t.Fatal(err)
	}
	var raw []byte
	for _, v := range out.Logits {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw
}

// measured generates and returns all tokens of the session and the logits of each of its rows but the last.
func measured(ctx context.Context, c *Client, target *Target, m *Model, req *Request) (tokens []protocol.TokenID, logits []byte, err error) {
	req.Logits = pipeline.LogitsPrompt
	r, err := c.Generate(ctx, target, m, req, Observer{Logits: func(_ []int, rows []byte) { logits = append(logits, rows...) }})
	if err != nil {
		return nil, nil, err
	}
	tokens = append(slices.Clone(r.PromptTokens), r.Tokens...)
	if len(r.Tokens) == int(req.MaxTokens) {
		tokens = tokens[:len(tokens)-1] // the last token was not fed back
	}
	return tokens, logits, nil
}

// splits are tilings of the demo model; overlaps and replicas leave the choice to the route.
func splits(r *rand.Rand) map[string][]string {
	random := func() []string {
		cuts := []int{0, 32}
		for range 1 + r.IntN(4) {
			cuts = append(cuts, 1+r.IntN(31))
		}
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
		var ranges []string
		for i := range len(cuts) - 1 {
			ranges = append(ranges, protocol.LayerRange{From: cuts[i], To: cuts[i+1]}.String())
		}
		return ranges
	}
	return map[string][]string{
		"one node": {"0-31"}, "four by eight": {"0-7", "8-15", "16-23", "24-31"},
		"overlaps": {"0-11", "5-20", "15-31"}, "replicas": {"0-15", "0-15", "16-31", "16-31"},
		"random one": random(), "random two": random(), "random three": random(),
	}
}

// TestAnySplitIsExact: whatever the split, the path and the prefill chunks, the logits are those of one local pass, bit for bit.
func TestAnySplitIsExact(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic: nothing for the race detector")
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for name, ranges := range splits(r) {
		path, chunk := protocol.Path(r.IntN(2)), 1+r.IntN(12)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkSplit(t, join(t, startSwarm(t, ranges...)[0], nil), path, chunk)
		})
	}
}

// TestANodeALayerIsExact: the finest split. It is not run beside other tests: 32 nodes in one process that all dial each other at once keep
// two cores busy for seconds. They tell of themselves on this machine, since the DHT takes long to settle so.
func TestANodeALayerIsExact(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic: nothing for the race detector")
	}
	dir := t.TempDir()
	for i := range 32 {
		startNode(t, fmt.Sprint(i), func(cfg *node.Config) { cfg.RunDir = dir })
	}
	c := join(t, nil, func(cfg *Config) { cfg.RunDir = dir })
	for _, path := range []protocol.Path{protocol.PathDirect, protocol.PathRelay} {
		checkSplit(t, c, path, 1+rand.IntN(12))
	}
}

// checkSplit compares the logits that the swarm gives with those of one local pass.
func checkSplit(t *testing.T, c *Client, path protocol.Path, chunk int) {
	t.Helper()
	target, m := find(t, c, Selector{})
	req := &Request{Prompt: question, MaxTokens: 6, Path: path, ChunkRows: chunk}
	tokens, logits, err := measured(t.Context(), c, target, m, req)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(logits, local(t, tokens, protocol.F16)) {
		t.Errorf("%d hops, path %d, chunks of %d: the logits differ from one local pass", len(target.Hops), path, chunk)
	}
}

// TestSessionsDoNotTouchEachOther: interleaved sessions give what each gives alone.
func TestSessionsDoNotTouchEachOther(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, "0-9", "10-31")
	c := join(t, nodes[0], nil)
	target, m := find(t, c, Selector{})
	questions := []string{question, "What is a shard node?", "How does a computer add numbers?", "Who are you?"}
	var wg sync.WaitGroup
	for i, q := range questions {
		wg.Go(func() {
			req := &Request{Prompt: q, MaxTokens: 8, Path: protocol.Path(i % 2), ChunkRows: 3 + i}
			tokens, logits, err := measured(t.Context(), c, target, m, req)
			if err != nil {
				t.Error(err)
				return
			}
			if !bytes.Equal(logits, local(t, tokens, protocol.F16)) {
				t.Errorf("%q among others: the logits differ from one local pass", q)
			}
		})
	}
	wg.Wait()
}

// TestOtherNumerics: f32 KV caches are exact too; an f16 wire is its own numerics, close to the exact result but not equal.
func TestOtherNumerics(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic: nothing for the race detector")
	}
	t.Parallel()
	var first *node.Node
	for _, l := range []string{"0-15", "16-31"} {
		n, _ := startNode(t, l, func(cfg *node.Config) {
			cfg.KV = protocol.F32
			if first != nil {
				cfg.Bootstrap = []string{address(first)}
			}
		})
		if first == nil {
			first = n
		}
	}
	c := join(t, first, nil)
	target, m := find(t, c, Selector{KV: protocol.F32})
	if want := "n1/kv-f32/wire-f32"; target.Numerics != want {
		t.Fatalf("numerics %q, want %q", target.Numerics, want)
	}
	req := &Request{Prompt: question, MaxTokens: 4}
	tokens, exact, err := measured(t.Context(), c, target, m, req)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(exact, local(t, tokens, protocol.F32)) {
		t.Error("f32 KV: the logits differ from one local pass")
	}
	target, m = find(t, c, Selector{Wire: protocol.F16})
	rounded, lossy, err := measured(t.Context(), c, target, m, req)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tokens, rounded) {
		t.Errorf("f16 wire: tokens %v, exact %v", rounded, tokens)
	}
	worst := 0.0
	for i := 0; i < len(exact); i += 4 {
		a := math.Float32frombits(binary.LittleEndian.Uint32(exact[i:]))
		b := math.Float32frombits(binary.LittleEndian.Uint32(lossy[i:]))
		worst = max(worst, math.Abs(float64(a-b)))
	}
	t.Logf("f16 wire: logits off by at most %.4f", worst)
	if worst == 0 || worst > 0.5 {
		t.Errorf("f16 wire: logits off by at most %g, want a small difference", worst)
	}
	var busy context.Context
	busy, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Find(busy, Selector{KV: protocol.F16}, nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a route of f16 KV through f32 nodes: %v", err)
	}
}

// TestStopTexts: an answer ends before a stop text, wherever token boundaries fall.
func TestStopTexts(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, "0-31")
	c := join(t, nodes[0], nil)
	var shown strings.Builder
	target, m := find(t, c, Selector{})
	r, err := c.Generate(t.Context(), target, m, &Request{Prompt: question, MaxTokens: 40, Stop: []string{"uter sys", "never"}}, Observer{Text: func(s string) { shown.WriteString(s) }})
	if err != nil {
		t.Fatal(err)
	}
	want := "Artificial intelligence (AI) is the field of building comp"
	if r.Text != want || shown.String() != want || r.Report.Reason != pipeline.FinishStop {
		t.Errorf("text %q, shown %q, reason %s; want %q, stop", r.Text, shown.String(), r.Report.Reason, want)
	}
	eventually(t, "KV memory is freed", func() bool { return nodes[0].Engine().Stats().KVUsed == 0 })
}
