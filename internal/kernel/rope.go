// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"math"
)

// MaxPositions bounds the positions that [Rope.Angles] is accurate for.
const MaxPositions = 1 << 24

// maxFrequency bounds an inverse frequency, in radians a position: angles stay below 2^26. Plain tables begin at 1.
const maxFrequency = 4

// maxMagnitude bounds what rotation stretches by; 1.4 is the largest that is published.
const maxMagnitude = 100.0

// Rope turns positions into the angles of a rotary embedding. It is immutable.
type Rope struct {
	frequency []float64 // [dim/2] radians a position
	linear    float64   // what angles are divided by
	magnitude float64   // what cosine and sine are multiplied by
}

// NewRope makes the table of a rotary part of dim elements: frequency i is base**(-2i/dim), divided by freqFactors[i] where
// freqFactors, [dim/2], is not nil. Angles are divided by linearScale, 1 for none.
func NewRope(dim int, base float64, freqFactors []float32, linearScale float64) (*Rope, error) {
	switch {
	case dim <= 0 || dim%2 != 0 || dim > 1<<16:
		return nil, fmt.Errorf("rotary embedding of %d elements: use an even number up to 65536", dim)
	case !(base >= 1) || math.IsInf(base, 0):
		return nil, fmt.Errorf("rotary embedding of base %v: use a number from 1 on", base)
	case !(linearScale > 0) || math.IsInf(linearScale, 0):
		return nil, fmt.Errorf("rotary embedding scaled by %v: use a positive number", linearScale)
	case freqFactors != nil && len(freqFactors) != dim/2:
		return nil, fmt.Errorf("rotary embedding of %d elements with %d frequency factors: use half as many as elements", dim, len(freqFactors))
	}
	r := &Rope{frequency: make([]float64, dim/2), linear: linearScale, magnitude: 1}
	for i := range r.frequency {
		f := invPower(base, float64(2*i), float64(dim))
		if freqFactors != nil {
			f /= float64(freqFactors[i])
		}
		if !(f >= 0 && f/linearScale <= maxFrequency) {
			return nil, fmt.Errorf("rotary embedding turns by %v radians a position at element %d: factors and scale must keep it from 0 to %d", f/linearScale, 2*i, maxFrequency)
		}
		r.frequency[i] = f
	}
	return r, nil
}

// WithMagnitude returns a table like r whose cosines and sines are m times as large: what rotates queries and keys stretches them too.
func (r *Rope) WithMagnitude(m float64) (*Rope, error) {
	if !(m > 0 && m <= maxMagnitude) {
		return nil, fmt.Errorf("rotary embedding of magnitude %v: use a number above 0 and up to %v", m, maxMagnitude)
	}
	scaled := *r
	scaled.magnitude = m
	return &scaled, nil
}

// Dim returns the length of the rotary part.
func (r *Rope) Dim() int { return 2 * len(r.frequency) }

// Angles writes cosine and sine of each angle of a position below [MaxPositions], [Dim/2] each (docs/numerics.md §5).
func (r *Rope) Angles(cos, sin []float32, pos int) {
	for i, f := range r.frequency {
		s, c := sinCos(float64(float64(pos)*f) / r.linear)
		cos[i], sin[i] = float32(float64(c*r.magnitude)), float32(float64(s*r.magnitude))
	}
}

// RopeNorm rotates the neighbouring pairs (2i, 2i+1) of x, one head's rotary part.
func RopeNorm(x, cos, sin []float32) {
	if activeOps != nil {
		activeOps.ropeNormRow(x, cos, sin)
		return
	}
	ropeNormPortable(x, cos, sin)
}

func ropeNormPortable(x, cos, sin []float32) {
	for i, c := range cos {
		x[2*i], x[2*i+1] = rotate(x[2*i], x[2*i+1], c, sin[i])
	}
}

// RopeNeox rotates the pairs (i, i+len(x)/2) of x, one head's rotary part.
func RopeNeox(x, cos, sin []float32) {
	half := len(x) / 2
	if activeOps != nil {
		activeOps.ropeNeoxRow(x[:half], x[half:], cos, sin)
		return
	}
	ropeNeoxPortable(x[:half], x[half:], cos, sin)
}

func ropeNeoxPortable(x0, x1, cos, sin []float32) {
	for i, c := range cos {
		x0[i], x1[i] = rotate(x0[i], x1[i], c, sin[i])
	}
}

func rotate(x0, x1, c, s float32) (y0, y1 float32) {
	return float32(x0*c) - float32(x1*s), float32(x0*s) + float32(x1*c)
}
