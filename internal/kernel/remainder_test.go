// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestRemainder: what is taken away and what stays give x again, to the last bit of a second rounding; and the bits are those of the contract.
func TestRemainder(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, blocks := range []int{1, 7, 31, 32, 33, 97} {
		x := randomFloats(rng, blocks*actBlock, 1)
		x[3] *= 1000 // one block with a coarse scale
		got := make([]float32, len(x))
		new(Remainder).Write(got, x)
		diff(t, fmt.Sprintf("%d blocks", blocks), got, refRemainder(x))
		for b := 0; b < len(x); b += actBlock {
			_, d, _ := refQuantize(x[b : b+actBlock])
			for i, r := range got[b : b+actBlock] {
				if math.Abs(float64(r)) > float64(d)*0.5001 {
					t.Fatalf("element %d: remainder %v of a scale %v", b+i, r, d)
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
