// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"math"
)

// Yarn stretches the context of a rotary embedding by dividing low frequencies only, those that turn less than Slow times in the context
// that the model was first trained with; ones that turn more than Fast times stay, and between the two there is a ramp over the pairs (Peng
// et al., "YaRN: Efficient Context Window Extension", 2023).
type Yarn struct {
	Factor     float64 // what low frequencies are divided by, from 1 on
	Context    int     // positions before stretching
	Fast, Slow float64 // turns, above 0; 32 and 1 are usual
	Truncate   bool    // the ramp begins and ends at whole pairs, rounded outwards
}

// NewYarn makes the table of a rotary part of dim elements that y stretches. Its magnitude is 1: see [Yarn.Magnitude].
func NewYarn(dim int, base float64, y Yarn) (*Rope, error) {
	r, err := NewRope(dim, base, nil, 1)
	switch {
	case err != nil:
		return nil, err
	case !(y.Factor >= 1 && y.Factor <= 1e6) || !(y.Fast > 0 && y.Fast <= 1e6) || !(y.Slow > 0 && y.Slow <= 1e6) || y.Context < 1 || y.Context > MaxPositions || base < 1.001:
		return nil, fmt.Errorf("rotary embedding of base %v stretched by YaRN %+v: use a base above 1, a factor from 1, turns above 0 and at least one position", base, y)
	}
	first, last := y.pair(dim, base, y.Fast), y.pair(dim, base, y.Slow)
	if y.Truncate {
		first, last = math.Floor(first), math.Ceil(last)
	}
	first, last = max(first, 0), min(last, float64(dim-1))
	if first == last {
		last += 0.001 // as the paper's code does: a ramp must rise
	}
	for i, f := range r.frequency {
		ramp := max(0, min(1, (float64(i)-first)/(last-first)))
		r.frequency[i] = float64(f/y.Factor*ramp) + float64(f*(1-ramp))
	}
	return r, nil
}

// Magnitude is the stretch of queries and keys that goes with the factor: 0.1·ln(factor) + 1.
func (y Yarn) Magnitude() float64 {
	hi, lo := logPair(y.Factor)
	return float64(0.1*(hi+lo)) + 1
}

// pair returns which pair, not a whole number, turns so many times in the context.
func (y Yarn) pair(dim int, base, turns float64) float64 {
	hi, lo := logPair(float64(y.Context) / float64(turns*(2*math.Pi)))
	baseHi, baseLo := logPair(base)
	return float64(float64(dim)*(hi+lo)) / float64(2*(baseHi+baseLo))
}
