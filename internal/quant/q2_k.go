// SPDX-License-Identifier: MIT

package quant

import "math"

// BytesQ2_K is the size of a Q2_K block: blocks of 256 in sixteen sub-blocks of 16, w = (d·sc)·q - dmin·mn. Layout: 16 bytes of scales, the low nibble,
// and minima, the high one; 64 bytes of bit pairs, of which each half of the block has 32: bits 2j of byte i are element 32j+i; d f16, dmin f16.
const BytesQ2_K = 84

// TwoBits writes the 256 bit pairs of a block in element order.
func TwoBits(q *[SuperBlock]uint8, b []byte) {
	for i := range q {
		q[i] = b[i/128*32+i%32] >> (i % 128 / 32 * 2) & 3
	}
}

func dequantQ2_K(dst []float32, b []byte) {
	d, dmin := half(b[80:]), half(b[82:])
	var q [SuperBlock]uint8
	TwoBits(&q, b[16:80])
	for i := range dst {
		s := b[i/16]
		dst[i] = float32(d*float32(s&15)*float32(q[i])) - dmin*float32(s>>4)
	}
}

func quantQ2_K(src []float32, b []byte) {
	var scale, low [16]float32
	var maxScale, maxLow float32
	for j := range scale {
		scale[j], low[j] = fitTwoBits(src[16*j:][:16])
		maxScale, maxLow = max(maxScale, scale[j]), max(maxLow, low[j])
	}
	putHalf(b[80:], maxScale/15)
	putHalf(b[82:], maxLow/15)
	d, dmin := half(b[80:]), half(b[82:])
	clear(b[16:80])
	for j := range scale {
		sc, mn := nearest(scale[j], d, 15), nearest(low[j], dmin, 15)
		b[j] = sc | mn<<4
		scale[j], low[j] = d*float32(sc), dmin*float32(mn)
	}
	for i, x := range src {
		q := nearest(x+low[i/16], scale[i/16], 3)
		b[16+i/128*32+i%32] |= q << (i % 128 / 32 * 2)
	}
}

// fitTwoBits finds scale and low, neither negative, for x ≈ scale·q - low with q from 0 to 3: of some ranges, a little within that of the
// values, the one with the smallest error after a fit of scale and low to the numbers it gives.
func fitTwoBits(x []float32) (scale, low float32) {
	least, most := minMax(x)
	least = min(least, 0)
	best := math.Inf(1)
	for k := range 8 {
		s := float64(most-least) / 3 * (1 - 0.05*float64(k))
		if !(s > 0) {
			return 0, -least
		}
		var n, sumQ, sumQ2, sumX, sumXQ float64
		for _, v := range x {
			q := max(0, min(3, math.RoundToEven(float64(v-least)/s)))
			n, sumQ, sumQ2, sumX, sumXQ = n+1, sumQ+q, sumQ2+float64(q*q), sumX+float64(v), sumXQ+float64(float64(v)*q)
		}
		d := float64(n*sumQ2) - float64(sumQ*sumQ)
		if d <= 0 {
			continue
		}
		a, b := (float64(n*sumXQ)-float64(sumQ*sumX))/d, (float64(sumQ*sumXQ)-float64(sumQ2*sumX))/d
		if b < 0 {
			a, b = sumXQ/sumQ2, 0
		}
		var e float64
		for _, v := range x {
			q := max(0, min(3, math.RoundToEven((float64(v)+b)/a)))
			off := float64(a*q) - b - float64(v)
			e += float64(off * off)
		}
		if a > 0 && e < best {
			best, scale, low = e, float32(a), float32(b)
		}
	}
	if math.IsInf(best, 1) {
		return (most - least) / 3, -least
	}
	return scale, low
}
