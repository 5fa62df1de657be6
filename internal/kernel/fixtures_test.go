// SPDX-License-Identifier: MIT

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/internal/quant"
)

// allTypes are the weight types that products are specified for.
var allTypes = []quant.Type{
	quant.F32, quant.F16, quant.BF16, quant.Q8_0, quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1, quant.Q4_K, quant.Q5_K, quant.Q6_K,
	quant.Q2_K, quant.Q3_K, quant.IQ4_NL, quant.IQ4_XS, quant.MXFP4,
}

// randomFloats returns n numbers with a normal distribution of the given deviation.
func randomFloats(rng *rand.Rand, n int, deviation float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * deviation)
	}
	return x
}

// randomMatrix returns a matrix as a model would have it: normally distributed weights, quantised.
func randomMatrix(tb rapid.TB, rng *rand.Rand, t quant.Type, rows, cols int) *Matrix {
	tb.Helper()
	n, err := quant.RowBytes(t, cols)
	if err != nil {
		tb.Fatal(err)
	}
	data := make([]byte, rows*n)
	if err := quant.Quantize(t, data, randomFloats(rng, rows*cols, 0.05)); err != nil {
		tb.Fatal(err)
	}
	return newMatrix(tb, t, rows, cols, data)
}

// wildMatrix returns a matrix of random bytes: integers of all values, scales of all magnitudes, among them zero, Inf and NaN.
func wildMatrix(tb rapid.TB, rng *rand.Rand, t quant.Type, rows, cols int) *Matrix {
	tb.Helper()
	n, err := quant.RowBytes(t, cols)
	if err != nil {
		tb.Fatal(err)
	}
	data := make([]byte, rows*n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return newMatrix(tb, t, rows, cols, data)
}

func newMatrix(tb rapid.TB, t quant.Type, rows, cols int, data []byte) *Matrix {
	tb.Helper()
	m, err := NewMatrix(t, rows, cols, data)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// wildFloat returns a float32 of any magnitude, or one of those that need care.
func wildFloat(rng *rand.Rand) float32 {
	special := []float32{
		0, float32(math.Copysign(0, -1)), 1, -1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
		math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, 0x1p-126, 0x1p-120, 65504, 65520, 1e-8,
	}
	if rng.IntN(4) == 0 {
		return special[rng.IntN(len(special))]
	}
	return math.Float32frombits(rng.Uint32())
}

// same reports whether two results are equal by the contract: bit for bit, NaN as a class.
func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

// diff fails the test at the first difference.
func diff(tb rapid.TB, what string, got, want []float32) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !same(got[i], want[i]) {
			tb.Fatalf("%s: element %d is %v (%08x), want %v (%08x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// packed returns the matrix as the pool wants it, until the test ends.
func packed(tb testing.TB, p *Pool, m *Matrix) *Matrix {
	tb.Helper()
	var mem Memory
	m, err := p.Pack(m, &mem)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { mem.Close() })
	return m
}
