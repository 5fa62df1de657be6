// SPDX-License-Identifier: MIT

package quant

import (
	"math"
	"testing"
)

// halfValue is binary16's definition, in float64.
func halfValue(h uint16) float64 {
	e, m := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(1+m/1024, e-15)
	switch {
	case e == 0:
		v = math.Ldexp(m, -24)
	case e == 31 && m == 0:
		v = math.Inf(1)
	case e == 31:
		return math.NaN()
	}
	if h&0x8000 != 0 {
		return math.Copysign(v, -1)
	}
	return v
}

func TestF16ToF32All(t *testing.T) {
	t.Parallel()
	for i := range 1 << 16 {
		h := uint16(i)
		got, want := F16ToF32(h), halfValue(h)
		if math.IsNaN(want) {
			if got == got || F32ToF16(got)&0x7c00 != 0x7c00 || F32ToF16(got)&0x3ff == 0 || F32ToF16(got)&0x8000 != h&0x8000 {
				t.Fatalf("NaN %04x: %v, back %04x", h, got, F32ToF16(got))
			}
			continue
		}
		if math.Float64bits(float64(got)) != math.Float64bits(want) {
			t.Fatalf("F16ToF32(%04x) = %v, want %v", h, got, want)
		}
		if back := F32ToF16(got); back != h {
			t.Fatalf("F32ToF16(%v) = %04x, want %04x", got, back, h)
		}
	}
}

// Between each pair of neighbours: the middle goes to the even one, a hair to each side of it to the near one.
func TestF32ToF16Rounding(t *testing.T) {
	t.Parallel()
	for i := range 0x7bff {
		lo, hi := uint16(i), uint16(i+1)
		middle := float32((halfValue(lo) + halfValue(hi)) / 2) // exact
		even := lo + lo&1
		up, down := math.Nextafter32(middle, float32(math.Inf(1))), math.Nextafter32(middle, 0)
		for _, c := range []struct {
			x    float32
			want uint16
		}{{middle, even}, {up, hi}, {down, lo}} {
			if got := F32ToF16(c.x); got != c.want {
				t.Fatalf("F32ToF16(%v) = %04x, want %04x", c.x, got, c.want)
			}
			if got := F32ToF16(-c.x); got != c.want|0x8000 {
				t.Fatalf("F32ToF16(%v) = %04x, want %04x", -c.x, got, c.want|0x8000)
			}
		}
	}
	for x, want := range map[float32]uint16{
		65504: 0x7bff, 65519.996: 0x7bff, 65520: 0x7c00, math.MaxFloat32: 0x7c00, float32(math.Inf(-1)): 0xfc00,
		0x1p-25: 0, 0x1.000002p-25: 1, 0x1p-149: 0,
	} {
		if got := F32ToF16(x); got != want {
			t.Errorf("F32ToF16(%v) = %04x, want %04x", x, got, want)
		}
	}
	for _, bits := range []uint32{0x7f800001, 0xff800001, 0x7fc00000, 0xffffffff} { // a payload that lies in dropped bits too
		h := F32ToF16(math.Float32frombits(bits))
		if h&0x7fff <= 0x7c00 || h>>15 != uint16(bits>>31) {
			t.Errorf("F32ToF16 of NaN %08x = %04x", bits, h)
		}
	}
}

func TestBF16(t *testing.T) {
	t.Parallel()
	for i := range 1 << 16 {
		h := uint16(i)
		f := BF16ToF32(h)
		if math.Float32bits(f) != uint32(h)<<16 {
			t.Fatalf("BF16ToF32(%04x) = %08x", h, math.Float32bits(f))
		}
		want := h
		if f != f {
			want |= 0x40 // quiet
		}
		if back := F32ToBF16(f); back != want {
			t.Fatalf("F32ToBF16(%v) = %04x, want %04x", f, back, want)
		}
		if h&0x7fff >= 0x7f80 {
			continue
		}
		bits := uint32(h) << 16
		for low, want := range map[uint32]uint16{0x7fff: h, 0x8000: h + h&1, 0x8001: h + 1} {
			if got := F32ToBF16(math.Float32frombits(bits | low)); got != want {
				t.Fatalf("F32ToBF16(%08x) = %04x, want %04x", bits|low, got, want)
			}
		}
	}
	if got := F32ToBF16(math.Float32frombits(0x7f800001)); got != 0x7fc0 {
		t.Errorf("NaN with a low payload became %04x", got)
	}
}
