// SPDX-License-Identifier: MIT

package sampler_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

var (
	nan    = float32(math.NaN())
	inf    = float32(math.Inf(1))
	negInf = float32(math.Inf(-1))
)

// support draws at many positions and returns how often each token came.
func support(logits []float32, history []protocol.TokenID, p protocol.Sampling, n int) map[protocol.TokenID]int {
	s := sampler.New(len(logits))
	got := map[protocol.TokenID]int{}
	for pos := range n {
		got[s.Sample(slices.Clone(logits), history, uint32(pos), p)]++
	}
	return got
}

func TestGreedy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		logits  []float32
		history []protocol.TokenID
		p       protocol.Sampling
		want    protocol.TokenID
	}{
		{"greatest", []float32{1, 3, 2}, nil, protocol.Sampling{}, 1},
		{"tie to the lowest ID", []float32{0, 5, 5, 5}, nil, protocol.Sampling{}, 1},
		{"signed zeros tie", []float32{float32(math.Copysign(0, -1)), 0}, nil, protocol.Sampling{}, 0},
		{"NaN is -Inf", []float32{nan, -7, nan}, nil, protocol.Sampling{}, 1},
		{"all NaN", []float32{nan, nan}, nil, protocol.Sampling{}, 0},
		{"all -Inf", []float32{negInf, negInf}, nil, protocol.Sampling{}, 0},
		{"+Inf wins", []float32{1, inf, 2}, nil, protocol.Sampling{}, 1},
		{"filters do not matter", []float32{1, 3, 2}, nil, protocol.Sampling{TopK: 2, TopP: 0.1, MinP: 0.5, Seed: 9}, 1},
		{"NaN temperature is greedy", []float32{1, 3, 2}, nil, protocol.Sampling{Temperature: nan}, 1},
		{"penalty divides positive", []float32{3, 4}, []protocol.TokenID{1}, protocol.Sampling{RepeatPenalty: 2}, 0},
		{"penalty multiplies negative", []float32{-3, -2}, []protocol.TokenID{1}, protocol.Sampling{RepeatPenalty: 2}, 0},
		{"each token once", []float32{1.5, 4}, []protocol.TokenID{1, 1, 1}, protocol.Sampling{RepeatPenalty: 2}, 1},
		{"penalty 1 is off", []float32{3, 4}, []protocol.TokenID{1}, protocol.Sampling{RepeatPenalty: 1}, 1},
		{"outside the window", []float32{3, 4}, []protocol.TokenID{1, 0}, protocol.Sampling{RepeatPenalty: 2, RepeatLastN: 1}, 1},
		{"inside the window", []float32{3, 4}, []protocol.TokenID{1, 5}, protocol.Sampling{RepeatPenalty: 2, RepeatLastN: 2}, 0},
		{"default window", []float32{3, 4}, append([]protocol.TokenID{1}, make([]protocol.TokenID, sampler.DefaultRepeatLastN)...), protocol.Sampling{RepeatPenalty: 1.2}, 1},
		{"default window, last of it", []float32{9, 4}, append([]protocol.TokenID{0}, slices.Repeat([]protocol.TokenID{7}, sampler.DefaultRepeatLastN-1)...), protocol.Sampling{RepeatPenalty: 3}, 1},
		{"unknown token in the history", []float32{3, 4}, []protocol.TokenID{1 << 31}, protocol.Sampling{RepeatPenalty: 2}, 1},
		{"no logits", nil, []protocol.TokenID{1}, protocol.Sampling{RepeatPenalty: 2}, 0},
	} {
		if got := sampler.New(0).Sample(slices.Clone(c.logits), c.history, 0, c.p); got != c.want {
			t.Errorf("%s: token %d, want %d", c.name, got, c.want)
		}
	}
}

// Each filter leaves exactly the tokens it should: 2000 draws find them all, and no other.
func TestFilters(t *testing.T) {
	t.Parallel()
	logOf := func(ps ...float64) []float32 {
		l := make([]float32, len(ps))
		for i, p := range ps {
			l[i] = float32(math.Log(p))
		}
		return l
	}
	probs := logOf(0.1, 0.4, 0.2, 0.25, 0.05) // rank: 1 3 2 0 4
	for _, c := range []struct {
		name   string
		logits []float32
		p      protocol.Sampling
		want   []protocol.TokenID
	}{
		{"none", probs, protocol.Sampling{}, []protocol.TokenID{0, 1, 2, 3, 4}},
		{"top-k", probs, protocol.Sampling{TopK: 3}, []protocol.TokenID{1, 2, 3}},
		{"top-k 1", probs, protocol.Sampling{TopK: 1}, []protocol.TokenID{1}},
		{"top-k beyond the vocabulary", probs, protocol.Sampling{TopK: math.MaxUint32}, []protocol.TokenID{0, 1, 2, 3, 4}},
		{"top-k ties to the lowest ID", []float32{1, 2, 1, 1}, protocol.Sampling{TopK: 2}, []protocol.TokenID{0, 1}},
		{"top-p", probs, protocol.Sampling{TopP: 0.6}, []protocol.TokenID{1, 3}},
		{"top-p reached by the first", probs, protocol.Sampling{TopP: 0.3}, []protocol.TokenID{1}},
		{"top-p tiny keeps one", probs, protocol.Sampling{TopP: 1e-30}, []protocol.TokenID{1}},
		{"top-p 1", probs, protocol.Sampling{TopP: 1}, []protocol.TokenID{0, 1, 2, 3, 4}},
		{"top-p ties to the lowest ID", []float32{0, 0, 0, 0}, protocol.Sampling{TopP: 0.5}, []protocol.TokenID{0, 1}},
		{"top-p within top-k", probs, protocol.Sampling{TopK: 2, TopP: 0.6}, []protocol.TokenID{1}}, // 0.4/0.65 > 0.6
		{"min-p", probs, protocol.Sampling{MinP: 0.4}, []protocol.TokenID{1, 2, 3}},
		{"min-p 1", probs, protocol.Sampling{MinP: 1}, []protocol.TokenID{1}},
		{"min-p after top-k", probs, protocol.Sampling{TopK: 4, MinP: 0.6}, []protocol.TokenID{1, 3}},
		{"min-p after top-p", probs, protocol.Sampling{TopP: 0.9, MinP: 0.3}, []protocol.TokenID{1, 2, 3}},
		{"NaN and -Inf never drawn", []float32{nan, 0, negInf, 0}, protocol.Sampling{}, []protocol.TokenID{1, 3}},
		{"NaN never ranked", []float32{nan, 0, negInf, 0}, protocol.Sampling{TopK: 3, TopP: 0.99}, []protocol.TokenID{1, 3}},
		{"+Inf takes all", []float32{inf, 0, inf, 3e38}, protocol.Sampling{}, []protocol.TokenID{0, 2}},
		{"all NaN", []float32{nan, nan}, protocol.Sampling{TopK: 1}, []protocol.TokenID{0}},
		{"far apart", []float32{-3e38, 3e38}, protocol.Sampling{TopP: 0.9}, []protocol.TokenID{1}},
	} {
		c.p.Temperature, c.p.Seed = 1, 11
		got := support(c.logits, nil, c.p, 2000)
		if len(got) != len(c.want) {
			t.Errorf("%s: drew %v, want exactly %v", c.name, got, c.want)
		}
		for _, id := range c.want {
			if got[id] == 0 {
				t.Errorf("%s: never drew %d: %v", c.name, id, got)
			}
		}
	}
}

func TestTinyTemperatureIsGreedy(t *testing.T) {
	t.Parallel()
	p := protocol.Sampling{Temperature: 1e-30, Seed: 3}
	if got := support([]float32{10, 9.999, 10.001}, nil, p, 100); got[2] != 100 {
		t.Errorf("drew %v, want only token 2", got)
	}
}

// 20 000 draws against the exact distribution, with and without the ranked path; the limits are 99.9 % quantiles.
func TestDistribution(t *testing.T) {
	t.Parallel()
	logits := []float32{0.5, -1, 2, 0, 1.5, -0.5, 1, -2}
	for _, c := range []struct {
		name  string
		p     protocol.Sampling
		limit float64
	}{
		{"temperature 1", protocol.Sampling{Temperature: 1, Seed: 5}, 24.3},
		{"temperature 2", protocol.Sampling{Temperature: 2, Seed: 6}, 24.3},
		{"ranked", protocol.Sampling{Temperature: 0.7, TopK: 8, Seed: 7}, 24.3},
		{"penalty", protocol.Sampling{Temperature: 1, RepeatPenalty: 1.5, Seed: 8}, 24.3},
	} {
		const n = 20_000
		history := []protocol.TokenID{2, 7}
		got := support(logits, history, c.p, n)
		weights, total := make([]float64, len(logits)), 0.0
		for i, x := range logits {
			v := float64(x)
			if c.p.RepeatPenalty != 0 && i == 2 {
				v /= 1.5
			}
			if c.p.RepeatPenalty != 0 && i == 7 {
				v *= 1.5
			}
			weights[i] = math.Exp(v / float64(c.p.Temperature))
			total += weights[i]
		}
		chi := 0.0
		for i, w := range weights {
			want := n * w / total
			d := float64(got[protocol.TokenID(i)]) - want
			chi += d * d / want
		}
		if chi > c.limit {
			t.Errorf("%s: chi-square %.1f > %.1f: %v", c.name, chi, c.limit, got)
		}
	}
}

// A draw depends on its arguments only: not on the draws before it, their order, or the sampler's past.
func TestPureFunctionOfArguments(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 300)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	history := []protocol.TokenID{4, 8, 15, 16, 23, 42}
	p := protocol.Sampling{Temperature: 0.9, TopK: 50, TopP: 0.9, MinP: 0.01, RepeatPenalty: 1.1, Seed: 77}
	fresh := make([]protocol.TokenID, 200)
	for pos := range fresh {
		fresh[pos] = sampler.New(len(logits)).Sample(slices.Clone(logits), history, uint32(pos), p)
	}
	used := sampler.New(1)
	for _, pos := range r.Perm(len(fresh)) {
		used.Sample(make([]float32, r.IntN(500)), history, 1, protocol.Sampling{Temperature: 1, RepeatPenalty: 2})
		if got := used.Sample(slices.Clone(logits), history, uint32(pos), p); got != fresh[pos] {
			t.Fatalf("position %d: token %d from a used sampler, %d from a fresh one", pos, got, fresh[pos])
		}
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(fresh))); len(distinct) < 5 {
		t.Errorf("200 positions drew only %v", distinct)
	}
}

// Not parallel: AllocsPerRun counts the whole process.
func TestAllocatesNothing(t *testing.T) {
	logits, row := make([]float32, 32000), make([]float32, 32000)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 4)
	}
	history := make([]protocol.TokenID, 1000)
	for _, p := range []protocol.Sampling{
		{},
		{Temperature: 0.8, RepeatPenalty: 1.1, RepeatLastN: 500},
		{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05},
		{Temperature: 1.5, TopP: 0.99},
	} {
		s, pos := sampler.New(len(logits)), uint32(0)
		if n := testing.AllocsPerRun(5, func() {
			copy(row, logits)
			s.Sample(row, history, pos, p)
			pos++
		}); n != 0 {
			t.Errorf("%+v: %v allocations a draw, want 0", p, n)
		}
	}
}
