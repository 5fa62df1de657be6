// SPDX-License-Identifier: MIT

package quant

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var allTypes = []Type{F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4}

func TestFormatsAgree(t *testing.T) {
	t.Parallel()
	if len(allTypes) != len(formats) {
		t.Fatalf("the tests know %d types, the package %d", len(allTypes), len(formats))
	}
	for typ := range formats {
		if f, ok := listed[typ]; ok {
			t.Errorf("%s is also listed as %s", typ, f.Name)
		}
	}
	for typ, size := range map[Type]int{
		Q8_0: BytesQ8_0, Q4_0: BytesQ4_0, Q4_1: BytesQ4_1, Q5_0: BytesQ5_0, Q5_1: BytesQ5_1,
		Q2_K: BytesQ2_K, Q3_K: BytesQ3_K, Q4_K: BytesQ4_K, Q5_K: BytesQ5_K, Q6_K: BytesQ6_K,
		IQ4_NL: BytesIQ4_NL, IQ4_XS: BytesIQ4_XS, MXFP4: BytesMXFP4,
	} {
		if f, _ := Lookup(typ); f.BlockBytes != size {
			t.Errorf("%s: block of %d bytes and of %d", typ, f.BlockBytes, size)
		}
	}
	if Type(18).String() != "IQ3_XXS" || Type(99).String() != "type(99)" {
		t.Errorf("names: %s, %s", Type(18), Type(99))
	}
	if f, ok := Layout(18); !ok || f.BlockBytes != 98 {
		t.Errorf("Layout(IQ3_XXS) = %+v, %v", f, ok)
	}
	if _, ok := Lookup(18); ok {
		t.Error("IQ3_XXS is not supported, yet Lookup finds it")
	}
}

func TestRowBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typ        Type
		cols, want int
	}{{F32, 5, 20}, {F16, 5, 10}, {Q8_0, 64, 68}, {Q4_0, 64, 36}, {Q4_K, 512, 288}, {Q6_K, 256, 210}} {
		if got, err := RowBytes(c.typ, c.cols); err != nil || got != c.want {
			t.Errorf("RowBytes(%s, %d) = %d, %v, want %d", c.typ, c.cols, got, err, c.want)
		}
	}
	for _, c := range []struct {
		typ  Type
		cols int
		want string
	}{
		{Q4_0, 33, "block of 32"}, {Q4_K, 128, "block of 256"}, {F32, 0, "multiple"}, {F32, -4, "multiple"},
		{18, 256, "IQ3_XXS is not supported"}, {F32, math.MaxInt, "too long"},
	} {
		if _, err := RowBytes(c.typ, c.cols); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("RowBytes(%s, %d): error %v, want one with %q", c.typ, c.cols, err, c.want)
		}
	}
}

// normal returns n values of a normal distribution, the same for the same seed.
func normal(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

func roundTrip(t *testing.T, typ Type, src []float32) []float32 {
	t.Helper()
	size, err := RowBytes(typ, len(src))
	if err != nil {
		t.Fatal(err)
	}
	blocks := make([]byte, size)
	for i := range blocks {
		blocks[i] = 0xff // a quantiser must not rely on zeroed memory
	}
	if err := Quantize(typ, blocks, src); err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	dst := make([]float32, len(src))
	if err := Dequantize(typ, dst, blocks); err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	return dst
}

// The bounds are a third above what the formats reach on normally distributed weights; a quantiser that wastes a bit doubles its error.
func TestQuantizeError(t *testing.T) {
	t.Parallel()
	bounds := map[Type]float64{
		F32: 0, F16: 3e-4, BF16: 2.3e-3, Q8_0: 7.5e-3, Q4_0: 0.115, Q4_1: 0.105, Q5_0: 0.058, Q5_1: 0.05,
		Q2_K: 0.5, Q3_K: 0.25, Q4_K: 0.105, Q5_K: 0.051, Q6_K: 0.028, IQ4_NL: 0.1, IQ4_XS: 0.1, MXFP4: 0.15,
	}
	src := normal(7, 256*64)
	for _, typ := range allTypes {
		got := roundTrip(t, typ, src)
		var sum, norm float64
		for i := range src {
			e := float64(got[i]) - float64(src[i])
			sum, norm = sum+float64(e*e), norm+float64(src[i])*float64(src[i])
		}
		rms := math.Sqrt(sum / norm)
		t.Logf("%s: relative rms error %.5f", typ, rms)
		if rms > bounds[typ] || rms < bounds[typ]/3 {
			t.Errorf("%s: relative rms error %.5f, want up to %.5f and not far below", typ, rms, bounds[typ])
		}
	}
}

func TestQuantizeSpecialBlocks(t *testing.T) {
	t.Parallel()
	one := make([]float32, 256)
	one[100] = -3
	ramp := make([]float32, 256)
	for i := range ramp {
		ramp[i] = float32(i - 128)
	}
	for _, typ := range allTypes {
		if got := roundTrip(t, typ, make([]float32, 256)); slices.ContainsFunc(got, func(x float32) bool { return x != 0 }) {
			t.Errorf("%s: zeros became %v", typ, got[:8])
		}
		tiny := slices.Repeat([]float32{math.SmallestNonzeroFloat32, -0x1p-127}, 128)
		for i, x := range roundTrip(t, typ, tiny) {
			if math.Abs(float64(x)) > 0x1p-120 {
				t.Errorf("%s: %v became %v", typ, tiny[i], x)
				break
			}
		}
		// Two and three bits, and values of tables, none of which is 0 for IQ4, are coarser.
		off, zero := 9.0, 0.002
		if slices.Contains([]Type{Q2_K, Q3_K, IQ4_NL, IQ4_XS, MXFP4}, typ) {
			off, zero = 25, 0.03
		}
		if got := roundTrip(t, typ, one); math.Abs(float64(got[100])+3) > 0.02 || math.Abs(float64(got[99])) > zero {
			t.Errorf("%s: a lone -3 became %v, its neighbour %v", typ, got[100], got[99])
		}
		for i, x := range roundTrip(t, typ, ramp) {
			if math.Abs(float64(x-ramp[i])) > off {
				t.Errorf("%s: %v became %v", typ, ramp[i], x)
				break
			}
		}
	}
}

func TestQuantizeRefuses(t *testing.T) {
	t.Parallel()
	bad := make([]float32, 256)
	bad[3] = float32(math.Inf(1))
	nan := make([]float32, 256)
	nan[255] = float32(math.NaN())
	for _, typ := range allTypes {
		size, _ := RowBytes(typ, 256)
		blocks := make([]byte, size)
		plain := typ == F32 || typ == F16 || typ == BF16
		if err := Quantize(typ, blocks, bad); (err == nil) != plain {
			t.Errorf("%s: infinity: %v", typ, err)
		}
		if err := Quantize(typ, blocks, nan); (err == nil) != plain {
			t.Errorf("%s: NaN: %v", typ, err)
		}
		if err := Quantize(typ, blocks[1:], make([]float32, 256)); err == nil {
			t.Errorf("%s: quantised into a slice that is too short", typ)
		}
		if err := Dequantize(typ, make([]float32, 256), blocks[1:]); err == nil {
			t.Errorf("%s: dequantised a slice that is too short", typ)
		}
	}
	if err := Dequantize(18, make([]float32, 256), make([]byte, 98)); err == nil || !strings.Contains(err.Error(), "IQ3_XXS") {
		t.Errorf("IQ3_XXS: %v", err)
	}
	if err := Dequantize(Q8_0, nil, nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

func FuzzDequantize(f *testing.F) {
	for i, typ := range allTypes {
		format, _ := Lookup(typ)
		seed := make([]byte, 2*format.BlockBytes)
		for j := range seed {
			seed[j] = byte(j * (2*i + 1))
		}
		f.Add(uint32(typ), seed)
	}
	f.Fuzz(func(t *testing.T, typ uint32, data []byte) {
		format, ok := Lookup(Type(typ))
		if !ok {
			if Dequantize(Type(typ), make([]float32, 256), data) == nil {
				t.Fatalf("type %d is not supported, yet it was dequantised", typ)
			}
			return
		}
		data = data[:len(data)/format.BlockBytes*format.BlockBytes]
		dst := make([]float32, len(data)/format.BlockBytes*format.BlockElems)
		if err := Dequantize(Type(typ), dst, data); err != nil {
			t.Fatal(err)
		}
		// Each block alone gives the same values, and the plain formats give their bytes back.
		for b := range len(data) / format.BlockBytes {
			alone := make([]float32, format.BlockElems)
			if err := Dequantize(Type(typ), alone, data[b*format.BlockBytes:(b+1)*format.BlockBytes]); err != nil {
				t.Fatal(err)
			}
			for i, x := range alone {
				if math.Float32bits(x) != math.Float32bits(dst[b*format.BlockElems+i]) && x == x {
					t.Fatalf("block %d element %d: %v alone, %v together", b, i, x, dst[b*format.BlockElems+i])
				}
			}
		}
		if Type(typ) == F32 {
			for i, x := range dst {
				if math.Float32bits(x) != binary.LittleEndian.Uint32(data[4*i:]) {
					t.Fatalf("element %d changed", i)
				}
			}
		}
	})
}
