// SPDX-License-Identifier: MIT

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestRemainder: what is taken away and what stays give x again, to the last bit of a second rounding; and the bits are those of the contract.
func TestRemainder(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, blocks := range []int{1, 7, 8, 9, 24} {
		x := randomFloats(rng, blocks*actBlock, 1)
		x[3] *= 1000 // one block with a coarse scale
		got := make([]float32, len(x))
		new(Remainder).Write(got, x)
		for b := range blocks {
			var q [actBlock]int8
			block := (*[actBlock]float32)(x[b*actBlock:])
			d, _, _, _ := quantizeBlock(&q, block)
			for i, v := range block {
				want := v - float32(d*float32(q[i]))
				if g := got[b*actBlock+i]; math.Float32bits(g) != math.Float32bits(want) {
					t.Fatalf("%d blocks, block %d, element %d: %v, want %v", blocks, b, i, g, want)
				}
				if math.Abs(float64(want)) > float64(d)*0.5001 {
					t.Fatalf("block %d, element %d: remainder %v of a scale %v", b, i, want, d)
				}
			}
		}
	}
}

func TestRemainderOfExtremes(t *testing.T) {
	t.Parallel()
	x := make([]float32, 3*actBlock)
	x[0] = float32(math.Inf(1)) // poisons its block
	x[actBlock] = 0x1p-130      // too small to count: stays
	got := make([]float32, len(x))
	new(Remainder).Write(got, x)
	if got[1] == got[1] {
		t.Errorf("beside an infinity: %v, want NaN", got[1])
	}
	if got[actBlock] != 0x1p-130 || got[2*actBlock] != 0 {
		t.Errorf("tiny %v and zero %v", got[actBlock], got[2*actBlock])
	}
}
