// SPDX-License-Identifier: MIT

package solver

// Where all layers of a copy but its first and last are alike to each device, the order of devices decides what links cost, and how many
// layers each device takes decides what the work costs. For a given order the best lengths solve a linear programme with one equation:
// at a vertex all but one device have one layer, or all that they hold. So ways with two lengths in between need not be looked at.

// even says how many layers a device holds where none of them is the first or last of a copy.
type even struct{ most []int }

// newEven returns nil where layers are not alike.
func newEven(r *ring) *even {
	v := &even{most: make([]int, r.n)}
	for i := range r.n {
		if r.pinned[i] {
			return nil
		}
		for c := 0; c < r.layers; c += r.model {
			for l := 2; l < r.model-1; l++ {
				if r.work[i][c+l+1]-r.work[i][c+l] != r.work[i][c+2]-r.work[i][c+1] {
					return nil
				}
			}
			for a := 1; a < r.model-1; a++ {
				far := min(r.last[i][c+a], c+r.model-1) - c
				if most := max(far-a, 0); a == 1 {
					v.most[i] = most
				} else if most != min(v.most[i], r.model-1-a) {
					return nil
				}
			}
		}
	}
	return v
}

// whole reports whether a range has one layer, or can have no more with its device.
func (v *even) whole(r *ring, i, a, e int) bool {
	switch {
	case e-a == 1:
		return true
	case e%r.model == 0 && a%r.model == 0:
		return true
	case e%r.model == 0:
		return !r.ends(i, a-1, e)
	case a%r.model == 0:
		return e == r.last[i][a] || !r.ends(i, a, e+1)
	}
	return e-a == v.most[i]
}
