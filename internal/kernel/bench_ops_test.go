// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// eachPath runs f with the operations that have no pool on every path.
func eachPath(b *testing.B, f func(b *testing.B)) {
	before := activeOps
	defer func() { activeOps = before }()
	for _, which := range supported() {
		activeOps = opsOf(which)
		b.Run(string(which), f)
	}
}

// BenchmarkOps reports what is on a token's way besides products, at the sizes of a model of 1.5 billion weights.
func BenchmarkOps(b *testing.B) {
	const hidden, ffn, headDim, vocab, positions = 1536, 8960, 128, 151_936, 512
	rng := rand.New(rand.NewPCG(7, 8))
	x, y, z := randomFloats(rng, vocab, 3), randomFloats(rng, ffn, 3), make([]float32, vocab)
	rope, err := NewRope(headDim, 1e6, nil, 1)
	if err != nil {
		b.Fatal(err)
	}
	rope64, err := NewRope(64, 1e6, nil, 1)
	if err != nil {
		b.Fatal(err)
	}
	cos, sin := make([]float32, headDim/2), make([]float32, headDim/2)
	rope.Angles(cos, sin, 77)
	k16, err := NewKVHead(quant.F16, positions, headDim)
	if err != nil {
		b.Fatal(err)
	}
	k32, err := NewKVHead(quant.F32, positions, headDim)
	if err != nil {
		b.Fatal(err)
	}
	var r Remainder
	pos := 0
	for _, c := range []struct {
		name string
		n    int // elements
		f    func()
	}{
		{"norm", hidden, func() { RMSNorm(z[:hidden], x[:hidden], y[:hidden], 1e-6) }},
		{"add", hidden, func() { Add(z[:hidden], x[:hidden]) }},
		{"swiglu", ffn, func() { SwiGLU(z[:ffn], x[:ffn], y[:ffn]) }},
		{"geglu", ffn, func() { GeGLU(z[:ffn], x[:ffn], y[:ffn]) }},
		{"remainder", ffn, func() { r.Write(z[:ffn], x[:ffn]) }},
		{"angles64", 64, func() { rope64.Angles(cos[:32], sin[:32], 1234) }},
		{"angles", headDim, func() { rope.Angles(cos, sin, 1234) }},
		{"ropenorm", headDim, func() { RopeNorm(y[:headDim], cos, sin) }},
		{"ropeneox", headDim, func() { RopeNeox(y[:headDim], cos, sin) }},
		{"putF16", 2 * headDim, func() { pos = (pos + 1) % positions; k16.Put(pos, x, y) }},
		{"putF32", 2 * headDim, func() { pos = (pos + 1) % positions; k32.Put(pos, x, y) }},
		{"argmax", vocab, func() { ArgMax(x) }},
		{"maxima", vocab, func() { Maxima(z, x) }},
		{"weights", vocab, func() { Weights(z, x, 20, 0.8) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			eachPath(b, func(b *testing.B) {
				for b.Loop() {
					c.f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.n), "ns/elem")
			})
		})
	}
}

// BenchmarkHeadSizes is one decode step's attention behind 1024 positions, for the head sizes that models have.
func BenchmarkHeadSizes(b *testing.B) {
	const heads, n = 4, 1024
	rng := rand.New(rand.NewPCG(3, 4))
	for _, dim := range []int{64, 80, 96, 112, 128} {
		b.Run(fmt.Sprint(dim), func(b *testing.B) {
			h := newKVHead(b, quant.F16, n, dim)
			for pos := range n {
				h.Put(pos, randomFloats(rng, dim, 1), randomFloats(rng, dim, 1))
			}
			q := randomFloats(rng, heads*dim, 1)
			a := Attention{Dst: make([]float32, len(q)), Q: q, Stride: heads * dim, Rows: 1, Heads: heads, Pos: n - 1, Scale: 0.088, Scores: make([]float32, ScoresLen(1, heads, n))}
			eachPath(b, func(b *testing.B) {
				for b.Loop() {
					h.Attend(&a)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(heads*n*dim), "ns/elem")
			})
		})
	}
}

// BenchmarkLongContext is the attention of one decode step of a whole model behind 4096 positions: 28 layers of two KV heads with six
// query heads each, which no cache holds.
func BenchmarkLongContext(b *testing.B) {
	const dim, heads, n, kvHeads = 128, 6, 4096, 56
	rng := rand.New(rand.NewPCG(3, 4))
	row := randomFloats(rng, 3*dim, 1)
	var all []*KVHead
	for range kvHeads {
		h := newKVHead(b, quant.F16, n, dim)
		for pos := range n {
			h.Put(pos, row[pos%dim:], row[pos%(2*dim):])
		}
		all = append(all, h)
	}
	q := randomFloats(rng, heads*dim, 1)
	a := Attention{Dst: make([]float32, len(q)), Q: q, Stride: heads * dim, Rows: 1, Heads: heads, Pos: n - 1, Scale: 0.088, Scores: make([]float32, ScoresLen(1, heads, n))}
	eachPath(b, func(b *testing.B) {
		b.SetBytes(kvHeads * n * dim * 4)
		for b.Loop() {
			for _, h := range all {
				h.Attend(&a)
			}
		}
	})
}
