// SPDX-License-Identifier: MIT

package bench

import (
	"math"
	"slices"
)

// Series are the figures of one test, a round each.
type Series []float64

// Median returns the middle figure, NaN of none.
func (s Series) Median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// Spread returns how far the figures lie apart: from the least to the most, over the median.
func (s Series) Spread() float64 {
	if len(s) < 2 {
		return 0
	}
	return (slices.Max(s) - slices.Min(s)) / s.Median()
}
