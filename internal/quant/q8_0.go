// SPDX-License-Identifier: MIT

package quant

import "math"

// BytesQ8_0 is the size of a Q8_0 block: blocks of 32, w = d·q. Layout: d f16, q [32]int8.
const BytesQ8_0 = 34

func dequantQ8_0(dst []float32, b []byte) {
	d := half(b)
	for i := range 32 {
		dst[i] = d * float32(int8(b[2+i]))
	}
}

func quantQ8_0(src []float32, b []byte) {
	m := maxMagnitude(src)
	d := max(m, -m) / 127
	inv := inverse(d)
	putHalf(b, d)
	for i, x := range src {
		b[2+i] = byte(int8(math.Round(float64(x * inv)))) // GGML rounds half away from zero here
	}
}
