// SPDX-License-Identifier: MIT

package kernel

import "math"

// ArgMax returns the index of the largest element, the lowest of equals; NaN counts as -Inf. It is 0 where no element is larger
// than -Inf (docs/numerics.md §9).
func ArgMax(x []float32) int {
	if activeOps != nil {
		return activeOps.argMaxRow(x)
	}
	return argMaxPortable(x)
}

func argMaxPortable(x []float32) int {
	best, at := float32(math.Inf(-1)), 0
	for i, v := range x {
		if v > best {
			best, at = v, i
		}
	}
	return at
}

// MaximaBlock is the number of elements of which [Maxima] takes the largest.
const MaximaBlock = 64

// Maxima writes the largest element of each block of [MaximaBlock] elements of x to dst, [len(x)/MaximaBlock, rounded up]; NaN counts as -Inf.
// The sign of a zero is unspecified.
func Maxima(dst, x []float32) {
	if activeOps != nil {
		activeOps.maximaRow(dst, x)
		return
	}
	maximaPortable(dst, x)
}

func maximaPortable(dst, x []float32) {
	for i := 0; len(x) > 0; i++ {
		block := x[:min(len(x), MaximaBlock)]
		dst[i] = float32(math.Inf(-1))
		for _, v := range block {
			if v > dst[i] {
				dst[i] = v
			}
		}
		x = x[len(block):]
	}
}

// Weight returns the unnormalised probability of logit x, from 0 to 1, where top is the largest of the row: e**((x-top)/temperature), 0 for
// NaN, and 1 for top even where it is infinite (docs/numerics.md §9). temperature is positive.
func Weight(x, top, temperature float32) float32 {
	if x == top {
		return 1
	}
	w := Exp((x - top) / temperature)
	if !(w > 0) { // NaN logit, or underflow
		return 0
	}
	return w
}

// weightsPiece is the number of elements that a call of assembly takes: those of the largest vocabularies take too long for one.
const weightsPiece = 64 << 10

// Weights writes the [Weight] of each element of x to dst, which may be x.
func Weights(dst, x []float32, top, temperature float32) {
	if activeOps == nil {
		weightsPortable(dst, x, top, temperature)
		return
	}
	for len(dst) > weightsPiece {
		activeOps.weightsRow(dst[:weightsPiece], x, top, temperature)
		dst, x = dst[weightsPiece:], x[weightsPiece:]
	}
	activeOps.weightsRow(dst, x, top, temperature)
}

func weightsPortable(dst, x []float32, top, temperature float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = Weight(v, top, temperature)
	}
}
