// SPDX-License-Identifier: MIT

package sampler_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

// TestAdjustments: bias, penalties of generated tokens and what is allowed, by the token that is likeliest then.
func TestAdjustments(t *testing.T) {
	t.Parallel()
	bias := func(id protocol.TokenID, v float32) []protocol.Bias { return []protocol.Bias{{Token: id, Value: v}} }
	for _, c := range []struct {
		name    string
		logits  []float32
		history []protocol.TokenID
		p       protocol.Sampling
		allowed []uint64
		want    protocol.TokenID
	}{
		{"bias lifts", []float32{1, 3, 2}, nil, protocol.Sampling{Bias: bias(0, 2.5)}, nil, 0},
		{"bias lowers", []float32{1, 3, 2}, nil, protocol.Sampling{Bias: bias(1, -100)}, nil, 2},
		{"bias of no token", []float32{1, 3, 2}, nil, protocol.Sampling{Bias: bias(9, 100)}, nil, 1},
		{"bias comes before the repeat penalty", []float32{1, 3}, []protocol.TokenID{0}, protocol.Sampling{Bias: bias(0, 4), RepeatPenalty: 2}, nil, 1},
		{"presence", []float32{3, 4}, []protocol.TokenID{1}, protocol.Sampling{PresencePenalty: 1.5}, nil, 0},
		{"presence counts once", []float32{3, 5}, []protocol.TokenID{1, 1, 1}, protocol.Sampling{PresencePenalty: 1.5}, nil, 1},
		{"presence below 0 lifts", []float32{3, 4}, []protocol.TokenID{0}, protocol.Sampling{PresencePenalty: -1.5}, nil, 0},
		{"frequency counts each", []float32{3, 5}, []protocol.TokenID{1, 1, 1}, protocol.Sampling{FrequencyPenalty: 0.75}, nil, 0},
		{"frequency of one", []float32{3, 5}, []protocol.TokenID{1}, protocol.Sampling{FrequencyPenalty: 0.75}, nil, 1},
		{"the prompt does not count", []float32{3, 4}, []protocol.TokenID{1, 1, 0}, protocol.Sampling{PresencePenalty: 1.5, FrequencyPenalty: 1, Prompt: 2}, nil, 1},
		{"a prompt beyond the history", []float32{3, 4}, []protocol.TokenID{1}, protocol.Sampling{PresencePenalty: 1.5, Prompt: 9}, nil, 1},
		{"unknown tokens", []float32{3, 4}, []protocol.TokenID{1 << 30}, protocol.Sampling{FrequencyPenalty: 2}, nil, 1},
		{"forbidden", []float32{1, 3, 2}, nil, protocol.Sampling{}, []uint64{0b101}, 2},
		{"forbidden though biased", []float32{1, 3, 2}, nil, protocol.Sampling{Bias: bias(1, 100)}, []uint64{0b001}, 0},
		{"only impossible ones are allowed", []float32{1, negInf, nan}, nil, protocol.Sampling{}, []uint64{0b110}, 1},
		{"beyond the set", append(make([]float32, 64), 9), nil, protocol.Sampling{}, []uint64{2}, 1},
	} {
		s := sampler.New(0)
		for range 2 { // nothing stays behind
			if got, _ := s.Draw(slices.Clone(c.logits), c.history, 0, c.p, c.allowed, nil); got != c.want {
				t.Errorf("%s: token %d, want %d", c.name, got, c.want)
			}
		}
	}
}

// With a temperature only allowed tokens are drawn, all of them, whatever else filters.
func TestDrawAllowed(t *testing.T) {
	t.Parallel()
	logits := []float32{0.5, 1, 0, 0.75, 5, 0.25}
	for _, p := range []protocol.Sampling{{Temperature: 1}, {Temperature: 1, TopK: 5}, {Temperature: 1, TopP: 0.999}, {Temperature: 1, MinP: 0.01}} {
		s := sampler.New(len(logits))
		got := map[protocol.TokenID]bool{}
		for pos := range uint32(500) {
			id, _ := s.Draw(slices.Clone(logits), nil, pos, p, []uint64{0b1011}, nil)
			got[id] = true
		}
		if d := cmp.Diff(map[protocol.TokenID]bool{0: true, 1: true, 3: true}, got); d != "" {
			t.Errorf("%+v: %s", p, d)
		}
	}
}

// Log probabilities are those of the logits as they come, whatever is done to them then.
func TestLogprobs(t *testing.T) {
	t.Parallel()
	logits := []float32{0.5, -1, 2, 0, 1.5, negInf, nan}
	norm := 0.0
	for _, x := range logits[:5] {
		norm += math.Exp(float64(x))
	}
	at := func(id protocol.TokenID) protocol.Logprob {
		return protocol.Logprob{Token: id, Value: float32(float64(logits[id]) - math.Log(norm))}
	}
	never := func(id protocol.TokenID) protocol.Logprob {
		return protocol.Logprob{Token: id, Value: protocol.MinLogprob}
	}
	for _, c := range []struct {
		name    string
		logits  []float32
		n       uint32
		allowed []uint64
		want    []protocol.Logprob
	}{
		{"none", logits, 0, nil, nil},
		{"itself", logits, 1, nil, []protocol.Logprob{at(2)}},
		{"others", logits, 3, nil, []protocol.Logprob{at(2), at(4), at(0)}},
		{"more than there are", logits, 21, nil, []protocol.Logprob{at(2), at(4), at(0), at(3), at(1)}},
		{"a token that is not the likeliest", logits, 3, []uint64{0b10}, []protocol.Logprob{at(1), at(2), at(4)}},
		{"nothing possible", []float32{negInf, nan}, 2, nil, []protocol.Logprob{never(0)}},
		{"infinite", []float32{inf, 0, inf}, 3, nil, []protocol.Logprob{{Token: 0, Value: float32(-math.Log(2))}, {Token: 2, Value: float32(-math.Log(2))}, never(1)}},
	} {
		p := protocol.Sampling{Logprobs: c.n, PresencePenalty: 0.25, Bias: []protocol.Bias{{Token: 3, Value: 0.25}}}
		_, got := sampler.New(1).Draw(slices.Clone(c.logits), []protocol.TokenID{2}, 0, p, c.allowed, nil)
		if d := cmp.Diff(c.want, got, cmpopts.EquateApprox(0, 1e-5)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// Not parallel: AllocsPerRun counts the whole process.
func TestDrawAllocatesNothing(t *testing.T) {
	logits, row := make([]float32, 32000), make([]float32, 32000)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 4)
	}
	history, allowed := make([]protocol.TokenID, 1000), slices.Repeat([]uint64{0x5555}, 500)
	p := protocol.Sampling{
		Temperature: 0.8, TopP: 0.9, PresencePenalty: 1, FrequencyPenalty: 0.1, Prompt: 10, Logprobs: 21, Bias: []protocol.Bias{{Token: 3, Value: 1}},
	}
	s, dst := sampler.New(len(logits)), make([]protocol.Logprob, 0, 21)
	if n := testing.AllocsPerRun(5, func() {
		copy(row, logits)
		_, dst = s.Draw(row, history, 7, p, allowed, dst[:0])
	}); n != 0 {
		t.Errorf("%v allocations a draw, want 0", n)
	}
}
