// SPDX-License-Identifier: MIT

package quant

import "math"

// Formats of four bits whose numbers stand for values of a table.

// ValuesIQ4 are the values of IQ4_NL and IQ4_XS: closer together around 0, as weights are.
var ValuesIQ4 = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// ValuesMXFP4 are twice the values of MXFP4, floats of one sign bit, two bits of exponent and one of mantissa.
var ValuesMXFP4 = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// Sizes of blocks:
//
//   - IQ4_NL, blocks of 32, w = d·value: d f16, 16 bytes of nibbles as in Q4_0;
//   - IQ4_XS, blocks of 256 in eight sub-blocks of 32, w = (d·sc)·value: d f16, 16 bits of which sub-block j has the two from 2j on, the high
//     bits of its scale, 4 bytes of nibbles, the low bits, then 16 bytes of nibbles for each sub-block; scales are less 32;
//   - MXFP4, blocks of 32, w = 2^(e-128)·value with the values as in ValuesMXFP4: e, a byte, then nibbles as in Q4_0. Below 2 it gives subnormal
//     scales, and 255 is no NaN here, as it is not in GGML.
const (
	BytesIQ4_NL = 18
	BytesIQ4_XS = 136
	BytesMXFP4  = 17
)

// Scale4 returns the scale of sub-block j (0 to 7) of an IQ4_XS block, -32 to 31.
func Scale4(j int, b []byte) int8 {
	return int8(b[4+j/2]>>(j%2*4)&15|b[2+j/4]>>(j%4*2)&3<<4) - 32
}

// HalfScaleMXFP4 returns 2^(e-128), half of the scale that e stands for.
func HalfScaleMXFP4(e byte) float32 {
	if e < 2 {
		return math.Float32frombits(0x00200000 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

func lookUp(dst []float32, d float32, nibbles []byte, values *[16]int8) {
	for i := range 16 {
		dst[i] = d * float32(values[nibbles[i]&15])
		dst[i+16] = d * float32(values[nibbles[i]>>4])
	}
}

func dequantIQ4_NL(dst []float32, b []byte) { lookUp(dst, half(b), b[2:], &ValuesIQ4) }

func dequantMXFP4(dst []float32, b []byte) { lookUp(dst, HalfScaleMXFP4(b[0]), b[1:], &ValuesMXFP4) }

func dequantIQ4_XS(dst []float32, b []byte) {
	d := half(b)
	for j := range 8 {
		lookUp(dst[32*j:], d*float32(Scale4(j, b)), b[8+16*j:], &ValuesIQ4)
	}
}

// table finds the number whose value is closest. Values are integers from -128 to 127, so two neighbours part at a multiple of a half: near has
// the number for each interval of that width, from -128 on.
type table struct {
	values *[16]int8
	near   [512]byte
}

func newTable(values *[16]int8) *table {
	t := &table{values: values}
	for i := range t.near {
		off, x := math.Inf(1), float64(i-256)/2+0.25
		for n, v := range values {
			if o := math.Abs(float64(v) - x); o < off {
				t.near[i], off = byte(n), o
			}
		}
	}
	return t
}

var tableIQ4, tableMXFP4 = newTable(&ValuesIQ4), newTable(&ValuesMXFP4)

func (t *table) closest(x float64) byte {
	return t.near[int(max(0, min(511, math.Floor(2*x)+256)))]
}

// put writes the numbers of 32 values.
func (t *table) put(b []byte, x []float32, d float32) {
	inv := float64(inverse(d))
	for i := range 16 {
		b[i] = t.closest(float64(x[i])*inv) | t.closest(float64(x[i+16])*inv)<<4
	}
}

// scale finds the scale, of either sign, for x ≈ scale·value: of some near the one that gives the largest x the first value of the table, the
// one with the smallest error after a fit. A value weighs by its magnitude.
func (t *table) scale(x []float32) float32 {
	top := float64(maxMagnitude(x))
	if top == 0 {
		return 0
	}
	var best, bestGain float64
	for k := -7; k <= 7; k++ {
		inv := float64(int(t.values[0])+4*k) / top
		var sumXV, sumV2 float64
		for _, v := range x {
			value := float64(t.values[t.closest(float64(v)*inv)])
			wv := math.Abs(float64(v)) * value
			sumXV += float64(wv * float64(v))
			sumV2 += float64(wv * value)
		}
		if gain := float64(sumXV*sumXV) / sumV2; gain > bestGain {
			best, bestGain = sumXV/sumV2, gain
		}
	}
	return float32(best)
}

func quantIQ4_NL(src []float32, b []byte) {
	putHalf(b, tableIQ4.scale(src))
	tableIQ4.put(b[2:], src, half(b))
}

func quantIQ4_XS(src []float32, b []byte) {
	var scale [8]float32
	for j := range scale {
		scale[j] = tableIQ4.scale(src[32*j:][:32])
	}
	putHalf(b, maxMagnitude(scale[:])/-32)
	d := half(b)
	clear(b[2:8])
	for j := range scale {
		sc := max(-32, min(31, math.RoundToEven(float64(scale[j]*inverse(d)))))
		v := uint8(sc + 32)
		b[4+j/2] |= v & 15 << (j % 2 * 4)
		b[2+j/4] |= v >> 4 << (j % 4 * 2)
		tableIQ4.put(b[8+16*j:], src[32*j:][:32], d*float32(sc))
	}
}

// quantMXFP4 tries the two powers of two between which the largest value fits and takes the one that comes nearer to all.
func quantMXFP4(src []float32, b []byte) {
	_, e := math.Frexp(float64(maxMagnitude(src))) // the largest value is below 2^e, and the format's below 8
	best := math.Inf(1)
	var try [BytesMXFP4]byte
	var back [32]float32
	for more := range 2 {
		try[0] = byte(max(0, min(254, e-3+more+127)))
		tableMXFP4.put(try[1:], src, HalfScaleMXFP4(try[0]))
		dequantMXFP4(back[:], try[:])
		var off float64
		for i, x := range src {
			d := float64(back[i]) - float64(x)
			off += float64(d * d)
		}
		if off < best {
			best = off
			copy(b, try[:])
		}
	}
}
