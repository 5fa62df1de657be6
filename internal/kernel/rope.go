// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"fmt"
	"math"
)

// Rope turns a position into the angles of a rotary embedding. It is immutable.
type Rope struct {
	invFreq []float64 // [dim/2] radians a position
	linear  float64
}

// NewRope prepares the frequencies of a rotary part of dim elements: base**(-2i/dim), each divided by its factor if
// freqFactors, [dim/2], is not nil. Angles are divided by linearScale; 1 is no scaling.
func NewRope(dim int, base float64, freqFactors []float32, linearScale float64) (*Rope, error) {
	switch {
	case dim <= 0 || dim%2 != 0 || dim > 1<<16:
		return nil, fmt.Errorf("rotary embedding of %d elements: must be even and positive", dim)
	case !(base > 0) || math.IsInf(base, 0):
		return nil, fmt.Errorf("rotary embedding of base %v: must be positive", base)
	case !(linearScale > 0) || math.IsInf(linearScale, 0):
		return nil, fmt.Errorf("rotary embedding scaled by %v: must be positive", linearScale)
	case freqFactors != nil && len(freqFactors) != dim/2:
		return nil, fmt.Errorf("rotary embedding of %d elements with %d frequency factors: must be half as many", dim, len(freqFactors))
	}
	for _, f := range freqFactors {
		if !(f > 0) || math.IsInf(float64(f), 0) {
			return nil, errors.New("rotary embedding with a frequency factor that is not positive")
		}
	}
	r := &Rope{invFreq: make([]float64, dim/2), linear: linearScale}
	ln := logf64(base)
	for i := range r.invFreq {
		f := expf64(float64(-2 * float64(i) / float64(dim) * ln))
		if freqFactors != nil {
			f /= float64(freqFactors[i])
		}
		r.invFreq[i] = f
	}
	return r, nil
}

// Dim returns the length of the rotary part.
func (r *Rope) Dim() int { return 2 * len(r.invFreq) }

// Angles writes cosine and sine of every angle of a position, [Dim/2] each.
func (r *Rope) Angles(cos, sin []float32, pos int) {
	for i, f := range r.invFreq {
		s, c := sincos(float64(float64(pos)*f) / r.linear)
		cos[i], sin[i] = float32(c), float32(s)
	}
}

// RopeNorm rotates the neighbouring pairs (2i, 2i+1) of x, one head's rotary part.
func RopeNorm(x, cos, sin []float32) {
	for i, c := range cos {
		x[2*i], x[2*i+1] = rotate(x[2*i], x[2*i+1], c, sin[i])
	}
}

// RopeNeox rotates the pairs (i, i+len(x)/2) of x, one head's rotary part.
func RopeNeox(x, cos, sin []float32) {
	half := len(x) / 2
	for i, c := range cos {
		x[i], x[half+i] = rotate(x[i], x[half+i], c, sin[i])
	}
}

func rotate(x0, x1, c, s float32) (y0, y1 float32) {
	return float32(x0*c) - float32(x1*s), float32(x0*s) + float32(x1*c)
}
