// SPDX-License-Identifier: MIT

package sampler_test

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

// allowed is a deliberately dumb second implementation of the filters: sort everything, cut. It returns the tokens a
// draw may give, with a little slack at the cuts, since it computes in float64.
func allowed(logits []float32, p protocol.Sampling) map[protocol.TokenID]bool {
	type tok struct {
		id protocol.TokenID
		x  float64
		w  float64
	}
	var all []tok
	for i, x := range logits {
		if x == x {
			all = append(all, tok{id: protocol.TokenID(i), x: float64(x)})
		}
	}
	slices.SortFunc(all, func(a, b tok) int { return cmp.Or(cmp.Compare(b.x, a.x), cmp.Compare(a.id, b.id)) })
	ok := map[protocol.TokenID]bool{}
	if len(all) == 0 || math.IsInf(all[0].x, -1) {
		return map[protocol.TokenID]bool{0: true}
	}
	if p.Temperature == 0 {
		return map[protocol.TokenID]bool{all[0].id: true}
	}
	if p.TopK > 0 && int(p.TopK) < len(all) {
		all = all[:p.TopK]
	}
	total := 0.0
	for i := range all {
		if all[i].w = math.Exp((all[i].x - all[0].x) / float64(p.Temperature)); all[i].x == all[0].x {
			all[i].w = 1
		}
		total += all[i].w
	}
	cum := 0.0
	for _, c := range all {
		if p.TopP > 0 && p.TopP < 1 && cum > 0 && cum >= float64(p.TopP)*total*(1+1e-4) {
			break
		}
		cum += c.w
		if c.w > 0 && c.w >= float64(p.MinP)*(1-1e-4) {
			ok[c.id] = true
		}
	}
	return ok
}

// exact is a deliberately dumb second implementation of a draw, sums included: everything is sorted, nothing left out. u is the draw's
// number in [0,1).
func exact(logits []float32, p protocol.Sampling, u float64) protocol.TokenID {
	type tok struct {
		id protocol.TokenID
		x  float32
		w  float64
	}
	best, top := protocol.TokenID(0), negInf
	for i, x := range logits {
		if x > top {
			best, top = protocol.TokenID(i), x
		}
	}
	if top == negInf || !(p.Temperature > 0) {
		return best
	}
	var all []tok
	total := 0.0
	for i, x := range logits {
		w := 1.0
		if x != top {
			w = float64(kernel.Exp((x - top) / p.Temperature))
		}
		if w > 0 { // not NaN
			all = append(all, tok{protocol.TokenID(i), x, w})
			total += w
		}
	}
	nucleus := p.TopP > 0 && p.TopP < 1
	if p.TopK > 0 || nucleus {
		slices.SortStableFunc(all, func(a, b tok) int { return cmp.Compare(b.x, a.x) })
	}
	if p.TopK > 0 {
		all = all[:min(uint64(p.TopK), uint64(len(all)))]
		total = 0
		for _, c := range all {
			total += c.w
		}
	}
	if nucleus {
		limit, cum := float64(p.TopP)*total, 0.0
		for i, c := range all {
			if cum += c.w; cum >= limit {
				all = all[:i+1]
				break
			}
		}
	}
	all = slices.DeleteFunc(all, func(c tok) bool { return p.MinP > 0 && c.w < float64(min(p.MinP, 1)) })
	total = 0
	for _, c := range all {
		total += c.w
	}
	cum := 0.0
	for _, c := range all {
		if cum += c.w; cum > u*total {
			return c.id
		}
	}
	return best
}

// TestEqualsSorted: the same token as by sorting everything, for rows of all shapes and all combinations of filters.
func TestEqualsSorted(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	rows := map[string]func(i int) float32{
		"normal":  func(int) float32 { return float32(rng.NormFloat64() * 3) },
		"wide":    func(int) float32 { return float32(rng.NormFloat64() * 60) },
		"ties":    func(int) float32 { return float32(rng.IntN(5)) },
		"zeros":   func(int) float32 { return float32(math.Copysign(0, float64(rng.IntN(2))-0.5)) },
		"rising":  func(i int) float32 { return float32(i) / 100 },
		"falling": func(i int) float32 { return -float32(i) / 100 },
		"wild":    func(int) float32 { return math.Float32frombits(rng.Uint32()) },
		"holes":   func(int) float32 { return []float32{nan, -nan, negInf, -3e38, 1, 2}[rng.IntN(6)] },
		"nothing": func(int) float32 { return []float32{nan, negInf}[rng.IntN(2)] },
		"half": func(i int) float32 {
			if i >= 64 {
				return nan
			}
			return float32(i % 7)
		},
		"peaks": func(int) float32 {
			if rng.IntN(100) == 0 {
				return float32(rng.NormFloat64())
			}
			return -20 + float32(rng.NormFloat64())
		},
	}
	s := sampler.New(0)
	for name, f := range rows {
		for _, vocab := range []int{1, 2, 63, 64, 65, 128, 1000, 4097} {
			logits := make([]float32, vocab)
			for i := range logits {
				logits[i] = f(i)
			}
			for _, topK := range []uint32{0, 1, 40, 700, math.MaxUint32} {
				for _, topP := range []float32{0, 0.3, 0.95, 0.99999994} {
					for _, minP := range []float32{0, 0.05, 1} {
						p := protocol.Sampling{Temperature: float32(math.Exp(rng.NormFloat64())), TopK: topK, TopP: topP, MinP: minP, Seed: rng.Uint64()}
						for pos := range uint32(8) {
							want := exact(logits, p, sampler.Uniform(p.Seed, pos))
							if got := s.Sample(slices.Clone(logits), nil, pos, p); got != want {
								t.Fatalf("%s, %d tokens, %+v, position %d: token %d, want %d", name, vocab, p, pos, got, want)
							}
						}
					}
				}
			}
		}
	}
}

// TestSums: what a walk starts from is to the last bit what it would have come to. Draws hardly ever show a wrong last bit.
func TestSums(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	for _, vocab := range []int{1, 64, 65, 1000, 40_000} {
		for _, minP := range []float32{0, 1e-3} {
			logits := make([]float32, vocab)
			for i := range logits {
				logits[i] = float32(rng.NormFloat64() * 4)
			}
			logits[rng.IntN(vocab)] = nan
			top := slices.MaxFunc(logits, func(a, b float32) int { return cmp.Compare(a, b) }) // NaN comes first
			before, size, total := sampler.SumsBeforeBlocks(logits, top, 0.7, minP)
			sum := 0.0
			for i, x := range logits {
				if i%size == 0 && before[i/size] != sum {
					t.Fatalf("sum before token %d is %x, want %x", i, before[i/size], sum)
				}
				if w := kernel.Weight(x, top, 0.7); w >= minP {
					sum += float64(w)
				}
			}
			if total != sum {
				t.Fatalf("sum of %d tokens is %x, want %x", vocab, total, sum)
			}
		}
	}
}

// FuzzSample feeds any logits and valid parameters: no panic, the same token twice, and one the oracle allows.
func FuzzSample(f *testing.F) {
	row := func(xs ...float32) []byte {
		var b []byte
		for _, x := range xs {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		return b
	}
	f.Add(row(1, 2, 3), float32(0.8), uint32(2), float32(0.9), float32(0.1), uint64(1), uint32(0))
	f.Add(row(nan, inf, negInf, 3e38, -3e38, 1e-45), float32(1e-3), uint32(0), float32(0.5), float32(0), uint64(2), uint32(9))
	f.Add(row(0, 0, 0, 0), float32(1e30), uint32(0), float32(0), float32(1), uint64(3), uint32(1<<31))
	f.Add(row(), float32(1), uint32(1), float32(1), float32(1), uint64(0), uint32(0))
	f.Fuzz(func(t *testing.T, raw []byte, temperature float32, topK uint32, topP, minP float32, seed uint64, pos uint32) {
		p := protocol.Sampling{Temperature: temperature, TopK: topK, TopP: topP, MinP: minP, Seed: seed}
		logits := make([]float32, min(len(raw)/4, 1<<12))
		for i := range logits {
			logits[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		s := sampler.New(len(logits))
		got := s.Sample(slices.Clone(logits), nil, pos, p)
		if again := s.Sample(slices.Clone(logits), nil, pos, p); again != got {
			t.Fatalf("token %d, then %d", got, again)
		}
		if sampler.Validate(p) != nil || temperature > 0 && temperature < 1e-6 || len(logits) == 0 {
			return // no panic is all that is promised, or the oracle's slack is too small
		}
		if !allowed(logits, p)[got] {
			t.Fatalf("token %d of %v with %+v is not allowed: %v", got, logits, p, allowed(logits, p))
		}
	})
}
