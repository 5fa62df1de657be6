// SPDX-License-Identifier: MIT

package kernel

import (
	"math"
	"os"
	"testing"
)

// TestExp samples all float32; with SHARDNODE_EXHAUSTIVE set it tries every one (minutes).
func TestExp(t *testing.T) {
	t.Parallel()
	step := uint64(2003)
	if os.Getenv("SHARDNODE_EXHAUSTIVE") != "" {
		step = 1
	}
	var worst float64
	var at float32
	for b := uint64(0); b < 1<<32; b += step {
		x := math.Float32frombits(uint32(b))
		y := Exp(x)
		exact := math.Exp(float64(x))
		switch {
		case x != x:
			if y == y {
				t.Fatalf("Exp(NaN) = %v", y)
			}
		case x > 88.72283:
			if !math.IsInf(float64(y), 1) {
				t.Fatalf("Exp(%v) = %v, want +Inf", x, y)
			}
		case x < -87.33654:
			if math.Float32bits(y) != 0 {
				t.Fatalf("Exp(%v) = %v, want +0", x, y)
			}
		case y < 0x1p-126 || math.IsInf(float64(y), 0):
			t.Fatalf("Exp(%v) = %v is not normal", x, y)
		default:
			_, e := math.Frexp(exact)
			if ulps := math.Abs(float64(y)-exact) / math.Ldexp(1, e-24); ulps > worst {
				worst, at = ulps, x
			}
		}
	}
	t.Logf("largest error %.4f ulp at %x", worst, at)
	if worst > 0.9 {
		t.Errorf("error of %.4f ulp at %x, documented as below 0.9", worst, at)
	}
}

func TestExpEqualsReference(t *testing.T) {
	t.Parallel()
	values := []float32{
		0, float32(math.Copysign(0, -1)), 88.72283, math.Nextafter32(88.72283, 89), -87.33654, math.Nextafter32(-87.33654, -88),
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1, -1, 1e-30, 88.37626, -87.0, // the last two turn n to 128, -126
	}
	for b := uint64(0); b < 1<<32; b += 100_003 {
		values = append(values, math.Float32frombits(uint32(b)))
	}
	for n := -126; n < 128; n++ { // products next to a half, which must be rounded before they are rounded to an integer
		x := float32((float64(n) + 0.5) * math.Ln2)
		for range 8 {
			x = math.Nextafter32(x, -100)
		}
		for range 17 {
			values = append(values, x)
			x = math.Nextafter32(x, 100)
		}
	}
	for i := -5000; i < 5000; i++ {
		values = append(values, float32(i)*0.0181)
	}
	for _, x := range values {
		if got, want := Exp(x), refExp(x); !same(got, want) {
			t.Errorf("Exp(%x) = %x, want %x", x, got, want)
		}
	}
}
