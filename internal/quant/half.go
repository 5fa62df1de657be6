// SPDX-License-Identifier: MIT

package quant

import "math"

// F16ToF32 converts an IEEE 754 binary16 exactly. NaN payloads are kept.
func F16ToF32(h uint16) float32 {
	// Shift exponent and mantissa into place and correct the exponent's bias by a multiplication, which also normalises
	// subnormals (the magic-number method): every result is exact.
	const magic = 0x1p112
	bits := uint32(h&0x7fff) << 13
	f := math.Float32frombits(bits) * magic
	if h&0x7c00 == 0x7c00 { // Inf and NaN keep their class
		f = math.Float32frombits(bits | 0x7f800000)
	}
	return math.Float32frombits(math.Float32bits(f) | uint32(h&0x8000)<<16)
}

// F32ToF16 rounds to the nearest binary16, ties to even. What is too large becomes infinity; a NaN stays a NaN, quiet.
func F32ToF16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	bits &= 0x7fffffff
	switch {
	case bits > 0x7f800000: // NaN
		return sign | 0x7e00 | uint16(bits>>13&0x3ff)
	case bits >= 0x477ff000: // 65520 and up round to infinity
		return sign | 0x7c00
	case bits < 0x38800000: // below the smallest normal: let the f32 addition round at the right place
		sum := math.Float32frombits(bits) + 0.5
		return sign | uint16(math.Float32bits(sum)-math.Float32bits(0.5))
	}
	bits += 0xfff + bits>>13&1 // nearest even at bit 13
	return sign | uint16(bits>>13-(127-15)<<10)
}

// BF16ToF32 converts a bfloat16 exactly.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 rounds to the nearest bfloat16, ties to even; a NaN stays a NaN, quiet.
func F32ToBF16(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
