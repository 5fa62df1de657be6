// SPDX-License-Identifier: MIT

package placement

import (
	"cmp"
	"math"
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Holder is a node that serves layers, or is about to, for [Place] and [Better].
type Holder struct {
	Layers protocol.LayerRange
	Speed  float64 // layers a second, as it says; 0: not known
}

// Place returns the range that a swarm of a model needs most of a node that serves nothing yet, and how many layers of it nobody serves:
// of the longest ranges that fit, the one whose worst served layer is the worst, then whose second worst is, and so on. A layer
// is served as well as the speeds of its holders add up to; one that nobody serves is the worst of all. fits says whether a range fits the
// node; it must hold for each part of a range for which it holds. The result is empty if nothing fits. Equal arguments give equal results,
// whatever the order of others.
func Place(nLayers int, others []Holder, fits func(protocol.LayerRange) bool) (r protocol.LayerRange, gaps int) {
	return neediest(supply(nLayers, middle(others), others), fits)
}

func neediest(served []float64, fits func(protocol.LayerRange) bool) (r protocol.LayerRange, gaps int) {
	var best, sorted []float64
	for _, w := range windows(len(served), fits) {
		sorted = append(sorted[:0], served[w.From:w.To]...)
		slices.Sort(sorted)
		if best == nil || worse(sorted, best) {
			r, best, sorted = w, sorted, best
		}
	}
	for _, s := range best {
		if s == 0 {
			gaps++
		}
	}
	return r, gaps
}

// MoveGain is by how much the worst served layer has to gain for a move to be worth it: sessions move, and layers are loaded.
const MoveGain = 0.2

// Better returns the range to which a node that serves mine should move, and by how much the worst served layer of the model gains:
// infinite if it is one that nobody serves. ok is false where no move gains [MoveGain], or each would leave layers to nobody.
func Better(nLayers int, others []Holder, mine Holder, fits func(protocol.LayerRange) bool) (r protocol.LayerRange, gain float64, ok bool) {
	all := append(slices.Clone(others), mine)
	unit := middle(all)
	without := supply(nLayers, unit, others)
	r, _ = neediest(without, fits)
	if r.Len() == 0 || r == mine.Layers {
		return r, 0, false
	}
	for l := mine.Layers.From; l < mine.Layers.To; l++ {
		if without[l] == 0 && (l < r.From || l >= r.To) {
			return r, 0, false
		}
	}
	before, after := slices.Clone(without), without
	add(before, unit, mine)
	add(after, unit, Holder{Layers: r, Speed: mine.Speed})
	if b, a := missing(before), missing(after); b > 0 {
		if a < b {
			return r, math.Inf(1), true
		}
		return r, 0, false
	}
	gain = float64(slices.Min(after)/slices.Min(before)) - 1
	return r, gain, gain >= MoveGain
}

func missing(served []float64) int {
	n := 0
	for _, s := range served {
		if s == 0 {
			n++
		}
	}
	return n
}

// maxSpeed is how many times the middle speed a node counts for at the most: it is its own word.
const maxSpeed = 8

// middle is the speed of the middle one of those that tell theirs; 0: none does.
func middle(holders []Holder) float64 {
	known := make([]float64, 0, len(holders))
	for _, h := range holders {
		if h.Speed > 0 {
			known = append(known, h.Speed)
		}
	}
	if len(known) == 0 {
		return 0
	}
	slices.Sort(known)
	return known[len(known)/2]
}

// supply adds up for each layer what its holders do, in thousandths of the middle speed.
func supply(nLayers int, middle float64, holders []Holder) []float64 {
	served := make([]float64, nLayers)
	for _, h := range holders {
		add(served, middle, h)
	}
	return served
}

// add adds a holder. The order of holders must not change a sum: whole thousandths do not round.
func add(served []float64, middle float64, h Holder) {
	speed := 1000.0
	if h.Speed > 0 {
		speed = math.Round(1000 * min(max(h.Speed/middle, 1.0/maxSpeed), maxSpeed))
	}
	for l := max(0, h.Layers.From); l < min(h.Layers.To, len(served)); l++ {
		served[l] += speed
	}
}

// worse compares sorted lists: of equal ones the longer is worse, since there is more to do.
func worse(a, b []float64) bool {
	n := min(len(a), len(b))
	return cmp.Or(slices.Compare(a[:n], b[:n]), cmp.Compare(len(b), len(a))) < 0
}

// windows returns the ranges that fit and are not part of another one that does.
func windows(nLayers int, fits func(protocol.LayerRange) bool) []protocol.LayerRange {
	var out []protocol.LayerRange
	end := 0
	for from := range nLayers {
		before := end
		end = max(end, from)
		for end < nLayers && fits(protocol.LayerRange{From: from, To: end + 1}) {
			end++
		}
		if end > from && end > before {
			out = append(out, protocol.LayerRange{From: from, To: end})
		}
	}
	return out
}
