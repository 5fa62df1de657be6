// SPDX-License-Identifier: MIT

package layers_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func loadEnds(t testing.TB, f *gguf.File, threads int) *layers.Ends {
	t.Helper()
	e, err := layers.LoadEnds(t.Context(), f, parse(t, f), threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// throughEnds takes tokens through ranges that see hidden states only, and returns the logits of all rows.
func throughEnds(e *layers.Ends, c *chain, s session, tokens []protocol.TokenID) ([]float32, error) {
	cfg := e.Config()
	x := make([]float32, len(tokens)*cfg.Hidden)
	if err := e.Embed(x, tokens); err != nil {
		return nil, err
	}
	for i, m := range c.models {
		if err := m.Forward(s[i], layers.Input{Hidden: x, LocalEnds: true}, &c.outs[i]); err != nil {
			return nil, err
		}
		if len(c.outs[i].Logits) > 0 {
			return nil, errors.New("logits of a step without a head")
		}
		x = c.outs[i].Hidden
	}
	logits := make([]float32, len(tokens)*cfg.Vocab)
	return logits, e.Logits(logits, x)
}

// checkEnds: with embedding, norm and head apart from the layers, the logits are those of one pass, whatever the split, the steps and the threads.
func checkEnds(t *testing.T, f *gguf.File, tokens []protocol.TokenID) {
	t.Helper()
	n := parse(t, f).NLayers
	whole := newChain(t, f, n, nil, 1, layers.Options{})
	want, err := whole.step(whole.open(64), tokens)
	if err != nil {
		t.Fatal(err)
	}
	for i, cuts := range [][]int{nil, {1}, {n / 2}} {
		e := loadEnds(t, f, i+1)
		c := newChain(t, f, n, cuts, 1, layers.Options{})
		s := c.open(64)
		var got []float32
		for part := range slices.Chunk(tokens, []int{5, 1, 64}[i]) {
			rows, err := throughEnds(e, c, s, part)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rows...)
		}
		if err := sameBits(got, want); err != nil {
			t.Errorf("ends apart, cut before %v: %v", cuts, err)
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	checkEnds(t, demo(t), []protocol.TokenID{1, 400, 17, 17, 3999, 5, 81, 2000, 9})
	checkEnds(t, tiny{}.file(t), tinyTokens(0))
}

// TestEndsAreShared: generations that use the same ends at once do not touch each other.
func TestEndsAreShared(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	e := loadEnds(t, f, 2)
	var wg sync.WaitGroup
	for which := range 2 {
		c, alone := newChain(t, f, tinyDepth, []int{2}, 1, layers.Options{}), newChain(t, f, tinyDepth, nil, 1, layers.Options{})
		tokens := tinyTokens(which)
		want, err := alone.step(alone.open(tinyContext), tokens)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			s := c.open(tinyContext)
			var got []float32
			for i := range tokens {
				rows, err := throughEnds(e, c, s, tokens[i:i+1])
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, rows...)
			}
			if err := sameBits(got, want); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestEndsRefuse(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	e := loadEnds(t, f, 1)
	x, logits := make([]float32, 2*tinyHidden), make([]float32, 2*tinyVocab)
	for name, err := range map[string]error{
		"embed 2 tokens into 256":            e.Embed(x[:tinyHidden], make([]protocol.TokenID, 2)),
		"outside the vocabulary":             e.Embed(x, []protocol.TokenID{0, tinyVocab}),
		"128 logits of 256 hidden states":    e.Logits(logits, x[:tinyHidden]),
		"128 logits of 0 hidden states":      e.Logits(logits, nil),
		"128 logits of 511 hidden states":    e.Logits(logits, x[:2*tinyHidden-1]),
		"hidden states: want 1 to 1024 rows": e.Logits(make([]float32, 1025*tinyVocab), make([]float32, 1025*tinyHidden)),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
	e.Close()
	e.Close()
	if e.Embed(x, make([]protocol.TokenID, 2)) == nil || e.Logits(logits, x) == nil {
		t.Error("closed ends compute")
	}
	headless := tiny{edit: func(name string, _ *gguf.TensorData) bool { return name != "output_norm.weight" }}.file(t)
	if _, err := layers.LoadEnds(t.Context(), headless, parse(t, headless), 1); err == nil || !strings.Contains(err.Error(), `"output_norm.weight" is missing`) {
		t.Errorf("without a norm: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := layers.LoadEnds(stopped, f, parse(t, f), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
}

// TestEndsAllocateNothing is not parallel: AllocsPerRun counts what the whole process allocates.
func TestEndsAllocateNothing(t *testing.T) {
	e := loadEnds(t, tiny{}.file(t), 2)
	x, logits := make([]float32, tinyHidden), make([]float32, tinyVocab)
	tokens := []protocol.TokenID{3}
	if n := testing.AllocsPerRun(50, func() {
		if err := errors.Join(e.Embed(x, tokens), e.Logits(logits, x)); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a token", n)
	}
}
