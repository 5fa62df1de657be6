// SPDX-License-Identifier: MIT

package kernel

import (
	"math"
	"strings"
	"testing"
)

// TestYarn compares whole tables with the formulas of the paper's code in package math.
func TestYarn(t *testing.T) {
	t.Parallel()
	const dim = 64
	for _, c := range []struct {
		base float64
		y    Yarn
	}{
		{150000, Yarn{Factor: 32, Context: 4096, Fast: 32, Slow: 1}}, // gpt-oss
		{1e6, Yarn{Factor: 4, Context: 32768, Fast: 32, Slow: 1, Truncate: true}},
		{10000, Yarn{Factor: 8, Context: 64, Fast: 1e6, Slow: 1e5, Truncate: true}}, // no ramp: all are slow
		{10000, Yarn{Factor: 1, Context: 4096, Fast: 32, Slow: 1}},
	} {
		r, err := NewYarn(dim, c.base, c.y)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = r.WithMagnitude(c.y.Magnitude()); err != nil {
			t.Fatal(err)
		}
		pair := func(turns float64) float64 {
			return dim * math.Log(float64(c.y.Context)/(turns*2*math.Pi)) / (2 * math.Log(c.base))
		}
		low, high := pair(c.y.Fast), pair(c.y.Slow)
		if c.y.Truncate {
			low, high = math.Floor(low), math.Ceil(high)
		}
		low, high = max(low, 0), min(high, dim-1)
		if low == high {
			high += 0.001
		}
		magnitude := 0.1*math.Log(c.y.Factor) + 1
		cos, sin := make([]float32, dim/2), make([]float32, dim/2)
		for _, pos := range []int{0, 1, 77, 5000, 131071} {
			r.Angles(cos, sin, pos)
			for i := range cos {
				plain := math.Pow(c.base, -2*float64(i)/dim)
				keep := 1 - max(0, min(1, (float64(i)-low)/(high-low)))
				angle := float64(pos) * (plain/c.y.Factor*(1-keep) + plain*keep)
				if dc, ds := math.Abs(float64(cos[i])-magnitude*math.Cos(angle)), math.Abs(float64(sin[i])-magnitude*math.Sin(angle)); dc > 2e-7 || ds > 2e-7 {
					t.Fatalf("base %v, %+v: position %d, pair %d: off by %.1e and %.1e", c.base, c.y, pos, i, dc, ds)
				}
			}
		}
	}
}

func TestYarnRefuses(t *testing.T) {
	t.Parallel()
	good := Yarn{Factor: 4, Context: 4096, Fast: 32, Slow: 1}
	for _, c := range []struct {
		base float64
		edit func(*Yarn)
	}{
		{1, func(*Yarn) {}},
		{1e4, func(y *Yarn) { y.Factor = 0.5 }},
		{1e4, func(y *Yarn) { y.Factor = math.NaN() }},
		{1e4, func(y *Yarn) { y.Context = 0 }},
		{1e4, func(y *Yarn) { y.Fast = 0 }},
		{1e4, func(y *Yarn) { y.Slow = math.Inf(1) }},
	} {
		y := good
		c.edit(&y)
		if _, err := NewYarn(64, c.base, y); err == nil || !strings.Contains(err.Error(), "YaRN") {
			t.Errorf("base %v, %+v: %v", c.base, y, err)
		}
	}
	r, err := NewYarn(64, 1e4, good)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := r.WithMagnitude(m); err == nil {
			t.Errorf("a magnitude of %v is accepted", m)
		}
	}
}
