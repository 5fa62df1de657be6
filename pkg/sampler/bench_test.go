// SPDX-License-Identifier: MIT

package sampler_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

// modelLogits is a row such as language models give: most tokens far below a few dozen likely ones.
func modelLogits(rng *rand.Rand, vocab int) []float32 {
	x := make([]float32, vocab)
	for i := range x {
		x[i] = float32(rng.NormFloat64()*2 - 4)
	}
	for i := range 40 {
		x[rng.IntN(vocab)] = 14 - float32(i)/3
	}
	return x
}

// BenchmarkSample is one draw with each filter. "flat" has random logits, whose nucleus is thousands of tokens.
func BenchmarkSample(b *testing.B) {
	for _, vocab := range []int{32_000, 151_936} {
		rng := rand.New(rand.NewPCG(9, 10))
		logits, flat := modelLogits(rng, vocab), make([]float32, vocab)
		for i := range flat {
			flat[i] = float32(rng.NormFloat64() * 3)
		}
		for _, c := range []struct {
			name   string
			logits []float32
			p      protocol.Sampling
		}{
			{"greedy", logits, protocol.Sampling{}},
			{"temperature", logits, protocol.Sampling{Temperature: 0.8}},
			{"min-p", logits, protocol.Sampling{Temperature: 0.8, MinP: 0.05}},
			{"top-p", logits, protocol.Sampling{Temperature: 0.8, TopP: 0.95}},
			{"top-k", logits, protocol.Sampling{Temperature: 0.8, TopK: 40}},
			{"all", logits, protocol.Sampling{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05}},
			{"flat-top-p", flat, protocol.Sampling{Temperature: 1, TopP: 0.95}},
			{"flat-top-k", flat, protocol.Sampling{Temperature: 1, TopK: 1000}},
		} {
			b.Run(fmt.Sprintf("%s/%d", c.name, vocab), func(b *testing.B) {
				s, pos := sampler.New(vocab), uint32(0)
				for b.Loop() {
					s.Sample(c.logits, nil, pos, c.p)
					pos++
				}
			})
		}
	}
}
