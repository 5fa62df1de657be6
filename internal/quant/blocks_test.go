// SPDX-License-Identifier: MIT

package quant

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Blocks written by hand: f16 1.0 is 3c00, 0.5 is 3800, 0.25 is 3400, -2.0 is c000, all little-endian.
func TestDequantizeLiteral(t *testing.T) {
	t.Parallel()
	rep := strings.Repeat
	for _, c := range []struct {
		name  string
		typ   Type
		block string
		want  map[int]float32
	}{
		{"F32", F32, "0000803f" + "000020c0", map[int]float32{0: 1, 1: -2.5}},
		{"F16", F16, "003c" + "00c0" + "0100", map[int]float32{0: 1, 1: -2, 2: 0x1p-24}},
		{"BF16", BF16, "803f" + "20c0", map[int]float32{0: 1, 1: -2.5}},
		{
			"Q8_0: signed bytes", Q8_0, "0038" + "7f" + "80" + rep("00", 29) + "ff",
			map[int]float32{0: 63.5, 1: -64, 2: 0, 31: -0.5},
		},
		{
			"Q4_0: low nibbles first, less 8", Q4_0, "0038" + "f0" + rep("88", 14) + "19",
			map[int]float32{0: -4, 16: 3.5, 1: 0, 17: 0, 15: 0.5, 31: -3.5},
		},
		{
			"Q4_1: minimum added", Q4_1, "0038" + "00c0" + "f0" + rep("00", 14) + "21",
			map[int]float32{0: -2, 16: 5.5, 1: -2, 15: -1.5, 31: -1},
		},
		{
			"Q5_0: fifth bits of elements 0, 17 and 31", Q5_0, "0038" + "01000280" + "f0" + rep("00", 14) + "21",
			map[int]float32{0: 0, 16: -0.5, 1: -8, 17: 0, 15: -7.5, 31: 1},
		},
		{
			"Q5_1: fifth bits and minimum", Q5_1, "0038" + "00c0" + "01000280" + "f0" + rep("00", 14) + "21",
			map[int]float32{0: 6, 16: 5.5, 1: -2, 17: 6, 15: -1.5, 31: 7},
		},
		{
			// Scale bytes: sub-block 0 has scale 1 (byte 0) and minimum 3 (byte 4); sub-block 4 has scale 0x12 = low bits of byte 8 (2)
			// and top bits of byte 0 (1), minimum 0x25 = high nibble of byte 8 (5) and top bits of byte 4 (2).
			"Q4_K: packed scales", Q4_K,
			"003c" + "0038" + "41000000" + "83000000" + "52000000" + "f9" + rep("00", 31) + rep("00", 32) + "37" + rep("00", 31) + rep("00", 31) + "ff",
			map[int]float32{0: 9 - 1.5, 1: -1.5, 32: 0, 128: 18*7 - 18.5, 129: -18.5, 255: 0},
		},
		{
			// As above, with the fifth bit of element 0 of sub-blocks 0 (bit 0) and 4 (bit 4).
			"Q5_K: fifth bits by sub-block", Q5_K,
			"003c" + "0038" + "41000000" + "83000000" + "52000000" + "11" + rep("00", 31) +
				"f9" + rep("00", 31) + rep("00", 32) + "37" + rep("00", 31) + rep("00", 32),
			map[int]float32{0: 25 - 1.5, 1: -1.5, 128: 18*23 - 18.5, 129: -18.5},
		},
		{
			// Low nibbles of elements 0 and 64 in byte 0; high pairs of 0, 32, 64, 96 in byte 128; the second half begins at bytes 64 and 160.
			"Q6_K: four quarters of a half", Q6_K,
			"21" + rep("00", 31) + "43" + rep("00", 31) + "05" + rep("00", 63) + // low
				"e4" + rep("00", 31) + "03" + rep("00", 31) + // high: 0, 1, 2, 3; then 3
				"01" + "ff" + "02" + "00" + "03" + "00" + "7f" + "00" + "80" + rep("00", 7) + "0038",
			map[int]float32{0: 0.5 * (1 - 32), 16: 16, 32: 0.5 * 2 * (16 + 3 - 32), 64: 0.5 * 3 * (32 + 2 - 32), 96: 0.5 * 127 * (48 + 4 - 32), 128: 0.5 * -128 * (48 + 5 - 32)},
		},
		{
			// Scale bytes: sub-block 0 has scale 3 and minimum 1, sub-block 15 scale 15 and minimum 2. Byte 0 of the pairs has elements 0, 32, 64 and 96, byte 63
			// those of 159, 191, 223 and 255.
			"Q2_K: scales and minima in nibbles", Q2_K, "13" + rep("00", 14) + "2f" + "e4" + rep("00", 62) + "c0" + "003c" + "0038",
			map[int]float32{0: -0.5, 1: -0.5, 32: 0, 240: -1, 255: 15*3 - 1},
		},
		{
			// Third bits: bit 0 of byte 0 is element 0, bit 7 of byte 31 element 255. Scale 0 is 0x21 - 32 = 1 (nibble 1 of byte 0, pair 2 of byte 8), scale 15 is
			// 0x3f - 32 = 31 (high nibble of byte 7, top pair of byte 11); the others, of zeros, are -32.
			"Q3_K: third bits and packed scales", Q3_K, "01" + rep("00", 30) + "80" + "03" + rep("00", 62) + "40" + "01000000000000f0" + "020000c0" + "003c",
			map[int]float32{0: 3, 1: -4, 16: 128, 32: 128, 255: 31 * (4 + 1 - 4), 254: 31 * -4},
		},
		{
			"IQ4_NL: values of a table", IQ4_NL, "0038" + "f0" + rep("88", 14) + "19",
			map[int]float32{0: -63.5, 16: 56.5, 1: 0.5, 15: 6.5, 31: -52},
		},
		{
			// Scale 0 is 0x21 - 32 = 1, scale 7 is 0x3f - 32 = 31, the others -32.
			"IQ4_XS: packed scales", IQ4_XS, "003c" + "02c0" + "010000f0" + "f0" + rep("00", 15) + rep("00", 96) + rep("00", 15) + "8f",
			map[int]float32{0: -127, 16: 113, 32: -127 * -32, 239: 31 * 113, 255: 31},
		},
		{
			"MXFP4: a power of two", MXFP4, "80" + "f1" + rep("00", 14) + "79",
			map[int]float32{0: 1, 16: -12, 1: 0, 15: -1, 31: 12},
		},
		{"MXFP4: the smallest scale", MXFP4, "00" + "01" + rep("00", 15), map[int]float32{0: 0x1p-128, 1: 0}},
		{"MXFP4: the largest", MXFP4, "ff" + "01" + rep("00", 15), map[int]float32{0: 0x1p127}},
	} {
		b, err := hex.DecodeString(c.block)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		f, _ := Lookup(c.typ)
		dst := make([]float32, len(b)/f.BlockBytes*f.BlockElems)
		if err := Dequantize(c.typ, dst, b); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i, want := range c.want {
			if dst[i] != want {
				t.Errorf("%s: element %d is %v, want %v", c.name, i, dst[i], want)
			}
		}
	}
}

// Packing every pair of six-bit numbers at every place, beside neighbours of all ones, and unpacking gives them back.
func TestScaleMinAll(t *testing.T) {
	t.Parallel()
	for j := range 8 {
		for sc := range uint8(64) {
			for mn := range uint8(64) {
				s := make([]byte, 12)
				for k := range 8 {
					if k == j {
						packScaleMin(s, k, sc, mn)
					} else {
						packScaleMin(s, k, 63, 63)
					}
				}
				for k := range 8 {
					wantSc, wantMn := uint8(63), uint8(63)
					if k == j {
						wantSc, wantMn = sc, mn
					}
					if gotSc, gotMn := ScaleMin(k, s); gotSc != wantSc || gotMn != wantMn {
						t.Fatalf("sub-block %d of %x: %d, %d, want %d, %d", k, s, gotSc, gotMn, wantSc, wantMn)
					}
				}
			}
		}
	}
}

func TestQuantizeLiteral(t *testing.T) {
	t.Parallel()
	src := make([]float32, 32)
	src[0], src[1], src[16], src[31] = -4, 3.5, 1.75, -0.5
	for _, c := range []struct {
		typ  Type
		want string
	}{
		// d = -4/-8: codes 0, 15, 12 (11.5 rounds up), 7; zero is 8.
		{Q4_0, "0038" + "c08f" + strings.Repeat("88", 13) + "78"},
		// d = 7.5/15, minimum -4: codes 0, 15, 12 (11.5 rounds up), 7; zero is 8.
		{Q4_1, "0038" + "00c4" + "c08f" + strings.Repeat("88", 13) + "78"},
		// d = -4/-16: codes 0, 30, 23, 14; zero is 16.
		{Q5_0, "0034" + "feffff7f" + "700e" + strings.Repeat("00", 13) + "e0"},
	} {
		f, _ := Lookup(c.typ)
		got := make([]byte, f.BlockBytes)
		if err := Quantize(c.typ, got, src); err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(got) != c.want {
			t.Errorf("%s: %x, want %s", c.typ, got, c.want)
		}
	}
}
