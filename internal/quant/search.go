// SPDX-License-Identifier: MIT

package quant

import "math"

// The K-quants are quantised by search, over the ranges of GGML's reference quantisers: for each of a number of spreads
// of the values over the available numbers, rounding fixes the numbers, the weighted least squares fix scale and minimum, and the spread
// with the smallest weighted error wins. The error follows from the sums, so each spread takes one pass. Q4_K, Q5_K and Q6_K weigh values as
// GGML does. Q2_K weighs as Q4_K, and Q3_K and IQ4 (tables.go) by magnitude, where GGML goes by the magnitude and by the square: with so few bits
// that gives the many small values up for the few large ones.

// nearestInt rounds half to even; |x| must be below 2^22. Adding 1.5·2^23 leaves the integer in the low bits of the sum.
func nearestInt(x float32) int {
	return int(math.Float32bits(x+12582912)&0x7fffff) - 0x400000
}

// spread is a range of candidates: the values are spread over top + first + k·step numbers, for k from 0 to steps.
type spread struct {
	top         int
	first, step float64
	steps       int
}

var (
	spreadQ2_K = spread{top: 3, first: -0.5, step: 0.1, steps: 15}
	spreadQ4_K = spread{top: 15, first: -1, step: 0.1, steps: 20}
	spreadQ5_K = spread{top: 31, first: -0.5, step: 0.1, steps: 15}
)

// affine finds scale ≥ 0 and low ≥ 0 for x ≈ scale·q - low with q from 0 to s.top, for one sub-block of 16 or 32. Large
// values weigh more: they matter more to a product.
func (s *spread) affine(x []float32) (scale, low float32) {
	least, most := minMax(x)
	least = min(least, 0)
	unit := inverse(most - least)
	if unit == 0 {
		return 0, -least
	}
	var square float32
	for _, v := range x {
		square += float32(v * v)
	}
	mean := float32(math.Sqrt(float64(square / float32(len(x)))))
	var w, wx [32]float64 // weights, and weights times values
	var parts [32]float64 // 0 to 1
	var sumW, sumX, sumX2 float64
	for i, v := range x {
		w[i] = float64(mean + max(v, -v))
		wx[i] = float64(w[i] * float64(v))
		parts[i] = float64((v - least) * unit)
		sumW += w[i]
		sumX += wx[i]
		sumX2 += float64(wx[i] * float64(v))
	}
	bestScale, bestLow, bestError := float64(most-least)/float64(s.top), float64(-least), math.Inf(1)
	for k := range s.steps + 1 {
		sumQ, sumQ2, sumXQ := s.sums(float64(s.top)+s.first+float64(s.step*float64(k)), parts[:len(x)], w[:len(x)], wx[:len(x)])
		d := float64(sumW*sumQ2) - float64(sumQ*sumQ)
		if !(d > 0) {
			continue // all the same number
		}
		a := (float64(sumW*sumXQ) - float64(sumX*sumQ)) / d
		b := (float64(sumQ*sumXQ) - float64(sumQ2*sumX)) / d // the low
		if b < 0 {
			a, b = sumXQ/sumQ2, 0
		}
		// Σ w·(a·q - b - x)²
		e := sumX2 + float64(a*(float64(a*sumQ2)-float64(2*b*sumQ)-float64(2*sumXQ))) + float64(b*(float64(b*sumW)+float64(2*sumX)))
		if e < bestError {
			bestScale, bestLow, bestError = a, b, e
		}
	}
	return float32(bestScale), float32(bestLow)
}

// sums spreads the values, as parts of their range, over so many numbers, and returns the weighted sums of the numbers, of their squares,
// and of their products with the values. Two sums of each kind run side by side, for speed.
func (s *spread) sums(numbers float64, parts, w, wx []float64) (q, q2, xq float64) {
	const shift = 0x1.8p52 // adding it rounds to an integer, half to even
	top := float64(s.top)
	var oddQ, oddQ2, oddXQ float64
	w, wx = w[:len(parts)], wx[:len(parts)]
	for i := 0; i+1 < len(parts); i += 2 {
		a := float64(float64(numbers*parts[i])+shift) - shift
		b := float64(float64(numbers*parts[i+1])+shift) - shift
		if a > top {
			a = top
		}
		if b > top {
			b = top
		}
		wa, wb := float64(w[i]*a), float64(w[i+1]*b)
		q, oddQ = q+wa, oddQ+wb
		q2, oddQ2 = q2+float64(wa*a), oddQ2+float64(wb*b)
		xq, oddXQ = xq+float64(wx[i]*a), oddXQ+float64(wx[i+1]*b)
	}
	return q + oddQ, q2 + oddQ2, xq + oddXQ
}

// symmetric finds the scale, of either sign, for x ≈ scale·q with q from -most to most-1, for one sub-block of 16. weight is
// of a value as part of the largest.
func symmetric(x []float32, most int, weight func(float64) float64) float32 {
	top := maxMagnitude(x)
	unit := inverse(top)
	if unit == 0 {
		return 0
	}
	var parts [16]float32 // -1 to 1
	var w, wx [16]float64
	for i := range parts {
		parts[i] = x[i] * unit
		v := float64(parts[i])
		w[i] = weight(v)
		wx[i] = float64(w[i] * v)
	}
	var best, bestGain float64
	for k := -9; k <= 9; k++ {
		// The largest value is spread to -most and somewhat beyond or short of it.
		numbers := -float32(most) - float32(0.1*float32(k))
		var sumXQ, sumQ2 float64
		for i, v := range parts {
			q := float64(max(-most, min(most-1, nearestInt(float32(numbers*v)))))
			sumXQ += float64(wx[i] * q)
			sumQ2 += float64(float64(w[i]*q) * q)
		}
		// The error is Σ w·x² less this.
		if gain := float64(sumXQ*sumXQ) / sumQ2; sumQ2 > 0 && gain > bestGain {
			best, bestGain = sumXQ/sumQ2, gain
		}
	}
	return float32(best) * top
}

func square(x float64) float64 { return float64(x * x) }
