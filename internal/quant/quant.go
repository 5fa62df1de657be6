// SPDX-License-Identifier: MIT

package quant

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// RowBytes returns the bytes of one row of cols elements.
func RowBytes(t Type, cols int) (int, error) {
	f, ok := Lookup(t)
	if !ok {
		return 0, fmt.Errorf("tensor type %s is not supported", t)
	}
	if cols <= 0 || cols%f.BlockElems != 0 {
		return 0, fmt.Errorf("a row of %d elements is not a multiple of %s's block of %d", cols, f.Name, f.BlockElems)
	}
	if cols > math.MaxInt/f.BlockBytes {
		return 0, fmt.Errorf("a row of %d elements is too long", cols)
	}
	return cols / f.BlockElems * f.BlockBytes, nil
}

// Dequantize writes the values of src's blocks to dst, as GGML's dequantize_row_*: each product and each sum rounded to f32 by itself.
// len(dst) must be a whole number of blocks and src exactly as long.
func Dequantize(t Type, dst []float32, src []byte) error {
	if err := checkSizes(t, len(dst), len(src)); err != nil {
		return fmt.Errorf("dequantize: %w", err)
	}
	switch t {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case Q4_0:
		eachBlock(dst, src, 32, BytesQ4_0, dequantQ4_0)
	case Q4_1:
		eachBlock(dst, src, 32, BytesQ4_1, dequantQ4_1)
	case Q5_0:
		eachBlock(dst, src, 32, BytesQ5_0, dequantQ5_0)
	case Q5_1:
		eachBlock(dst, src, 32, BytesQ5_1, dequantQ5_1)
	case Q8_0:
		eachBlock(dst, src, 32, BytesQ8_0, dequantQ8_0)
	case Q2_K:
		eachBlock(dst, src, SuperBlock, BytesQ2_K, dequantQ2_K)
	case Q3_K:
		eachBlock(dst, src, SuperBlock, BytesQ3_K, dequantQ3_K)
	case Q4_K:
		eachBlock(dst, src, SuperBlock, BytesQ4_K, dequantQ4_K)
	case Q5_K:
		eachBlock(dst, src, SuperBlock, BytesQ5_K, dequantQ5_K)
	case Q6_K:
		eachBlock(dst, src, SuperBlock, BytesQ6_K, dequantQ6_K)
	case IQ4_NL:
		eachBlock(dst, src, 32, BytesIQ4_NL, dequantIQ4_NL)
	case IQ4_XS:
		eachBlock(dst, src, SuperBlock, BytesIQ4_XS, dequantIQ4_XS)
	case MXFP4:
		eachBlock(dst, src, 32, BytesMXFP4, dequantMXFP4)
	}
	return nil
}

// Quantize writes src in blocks of type t to dst. The simple types round as GGML's reference quantisers do, byte for
// byte; the others search (search.go), and come as near to src as GGML's within 2 %. A block format refuses NaN
// and infinity: they would spoil their whole block.
func Quantize(t Type, dst []byte, src []float32) error {
	if err := checkSizes(t, len(src), len(dst)); err != nil {
		return fmt.Errorf("quantize: %w", err)
	}
	if t != F32 && t != F16 && t != BF16 {
		if i := slices.IndexFunc(src, notFinite); i >= 0 {
			return fmt.Errorf("quantize to %s: value %d is %v; only finite values fit", t, i, src[i])
		}
	}
	switch t {
	case F32:
		for i, x := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
	case F16:
		for i, x := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], F32ToF16(x))
		}
	case BF16:
		for i, x := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], F32ToBF16(x))
		}
	case Q4_0:
		eachBlock(src, dst, 32, BytesQ4_0, quantQ4_0)
	case Q4_1:
		eachBlock(src, dst, 32, BytesQ4_1, quantQ4_1)
	case Q5_0:
		eachBlock(src, dst, 32, BytesQ5_0, quantQ5_0)
	case Q5_1:
		eachBlock(src, dst, 32, BytesQ5_1, quantQ5_1)
	case Q8_0:
		eachBlock(src, dst, 32, BytesQ8_0, quantQ8_0)
	case Q2_K:
		eachBlock(src, dst, SuperBlock, BytesQ2_K, quantQ2_K)
	case Q3_K:
		eachBlock(src, dst, SuperBlock, BytesQ3_K, quantQ3_K)
	case Q4_K:
		eachBlock(src, dst, SuperBlock, BytesQ4_K, quantQ4_K)
	case Q5_K:
		eachBlock(src, dst, SuperBlock, BytesQ5_K, quantQ5_K)
	case Q6_K:
		eachBlock(src, dst, SuperBlock, BytesQ6_K, quantQ6_K)
	case IQ4_NL:
		eachBlock(src, dst, 32, BytesIQ4_NL, quantIQ4_NL)
	case IQ4_XS:
		eachBlock(src, dst, SuperBlock, BytesIQ4_XS, quantIQ4_XS)
	case MXFP4:
		eachBlock(src, dst, 32, BytesMXFP4, quantMXFP4)
	}
	return nil
}

func notFinite(x float32) bool { return math.Float32bits(x)&0x7f800000 == 0x7f800000 }

func checkSizes(t Type, elems, bytes int) error {
	if elems == 0 && bytes == 0 {
		if _, ok := Lookup(t); !ok {
			return fmt.Errorf("tensor type %s is not supported", t)
		}
		return nil
	}
	want, err := RowBytes(t, elems)
	if err != nil {
		return err
	}
	if bytes != want {
		return fmt.Errorf("%d elements of %s take %d bytes, found %d", elems, t, want, bytes)
	}
	return nil
}

// eachBlock calls f for each block of elems values and size bytes.
func eachBlock(values []float32, blocks []byte, elems, size int, f func(values []float32, block []byte)) {
	for len(values) > 0 {
		f(values[:elems:elems], blocks[:size:size])
		values, blocks = values[elems:], blocks[size:]
	}
}

func half(b []byte) float32 { return F16ToF32(binary.LittleEndian.Uint16(b)) }

func putHalf(b []byte, x float32) { binary.LittleEndian.PutUint16(b, F32ToF16(x)) }

// maxMagnitude returns the value of largest magnitude, the first of equals, with its sign.
func maxMagnitude(x []float32) float32 {
	var best, bestAbs float32
	for _, v := range x {
		if a := max(v, -v); a > bestAbs {
			best, bestAbs = v, a
		}
	}
	return best
}

func minMax(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x[1:] {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

// inverse is 1/d, 0 for a d so small that 1/d overflows. The smallest binary16 is far above that, so such a block is all zeros anyway.
func inverse(d float32) float32 {
	if max(d, -d) < 0x1p-126 {
		return 0
	}
	return 1 / d
}
