// SPDX-License-Identifier: MIT

package solver

import (
	"cmp"
	"math/bits"
	"slices"
)

// The label search goes through boundaries in order and keeps, for each device that ends there, the ways that lead to it: labels. A label
// remembers devices it has used, and may not use those again. What it remembers after each hop is cut to the neighbourhood of the
// device it is at: with all devices in each neighbourhood the search is exact; with fewer it is a relaxation, stronger than the one
// without memory, since to forget a device a way must go far from it. Labels whose cost and what must still follow reach the best way
// known are dropped, and so are those dominated by another one of the device that costs no more and remembers no more.

// maxLabelled is the most devices a label search can tell apart.
const maxLabelled = 64

// label is a way up to a boundary.
type label struct {
	cost   int64  // what labels are compared by: with prices of devices in a relaxation, without them in the exact search
	priced int64  // with prices
	set    uint64 // devices remembered
	parent int32  // -1: none
	device int16
	from   int16 // where the device's range begins
	hops   int16 // 0 where they are not limited
	part   uint8 // 1: in this copy of the model a range is neither full nor of one layer (see even)
}

type labelSearch struct {
	r       *ring
	p       *prices
	near    []uint64 // per device: what is remembered behind it
	exact   bool
	limited bool // hops are
	pins    uint64
	room    []int      // per device: the most layers of a range
	total   int        // sum of room
	even    *even      // nil: ranges of any length are looked at
	after   [2][]int64 // as relaxation.after gives, under the same prices: for labels without a part and with one
	upper   int64      // only ways below it are wanted
	e       *effort
	most    int // labels: with more the search gives up; 0: no limit

	labels []label
	at     []bucket // per boundary
	credit int64
	open   int64 // the least bound of labels that were not looked at, when effort ended
	best   int64 // exact: the least cost of a way found; else the least bound. upper if none was found
	found  int32 // its label, -1: none
}

// bucket holds the labels of one boundary: of each device and set the cheapest.
type bucket struct {
	list  []int32
	table []int32 // open addressing; -1: free. Length a power of two
}

func newLabelSearch(r *ring, p *prices, near []uint64, after [2][]int64, upper int64, e *effort) *labelSearch {
	s := &labelSearch{r: r, p: p, near: near, after: after, upper: upper, e: e, credit: p.credit(r), open: inf, best: upper, found: -1}
	s.exact = true
	for _, m := range near {
		if m != 1<<r.n-1 {
			s.exact = false
		}
	}
	s.limited = r.hops < min(r.n, r.layers)
	for i, must := range r.pinned {
		if must {
			s.pins |= 1 << i
		}
	}
	s.room = r.room()
	for _, n := range s.room {
		s.total += n
	}
	s.at = make([]bucket, r.layers+1)
	return s
}

// run searches. It reports whether it came to its end.
func (s *labelSearch) run() bool {
	r := s.r
	s.extend(-1, 0)
	for b := 1; b < r.layers; b++ {
		list := s.undominated(b)
		for k, id := range list {
			if !s.e.spend(1) || s.most > 0 && len(s.labels) > s.most {
				s.leave(list[k:], b)
				return false
			}
			s.extend(id, b)
		}
	}
	for _, id := range s.at[r.layers].list {
		s.finish(id)
	}
	return true
}

// extend adds every hop that may follow a label at boundary b.
func (s *labelSearch) extend(id int32, b int) {
	r := s.r
	l := label{device: int16(r.n), set: 0}
	if id >= 0 {
		l = s.labels[id]
	}
	if s.limited {
		if int(l.hops) >= r.hops {
			return
		}
		l.hops++
	}
	limit := s.upper + s.credit
	for j := range r.n {
		far := r.last[j][b]
		if far <= b || l.set>>j&1 != 0 {
			continue
		}
		way := r.into(int(l.device), j, b)
		if way >= inf {
			continue
		}
		add := way + r.enter[j]
		priced := l.priced + add + s.p.device[j] + s.p.hop
		set := l.set&s.near[j] | 1<<j
		least := r.layers - s.total // the range must end here or further, for what is not remembered to hold the rest
		for m := set; m != 0; m &= m - 1 {
			least += s.room[bits.TrailingZeros64(m)]
		}
		next := label{
			set: set, parent: id, device: int16(j), from: int16(b), hops: l.hops,
		}
		for e := far; e > b && e >= least; e-- {
			if e < far && r.pinned[j] {
				break
			}
			part := l.part
			if b%r.model == 0 {
				part = 0
			}
			if s.even != nil && !s.even.whole(r, j, b, e) {
				if part++; part > 1 {
					e = b + 2 // all but one layer would be a second part
					continue
				}
			}
			work := r.work[j][e] - r.work[j][b]
			if priced+work+s.after[part][e*r.n+j] >= limit {
				continue
			}
			next.priced = priced + work
			next.cost = next.priced
			if s.exact {
				next.cost = l.cost + add + work
			}
			next.part = part
			s.add(next, e)
		}
	}
}

// add puts a label at a boundary, unless one of the same device and set is no dearer there.
func (s *labelSearch) add(l label, b int) {
	t := &s.at[b]
	if 2*(len(t.list)+1) > len(t.table) {
		t.grow(s.labels)
	}
	slot := t.find(s.labels, &l)
	if id := t.table[slot]; id >= 0 {
		old := &s.labels[id]
		if l.cost < old.cost {
			*old = l
		}
		return
	}
	id := int32(len(s.labels))
	s.labels = append(s.labels, l)
	t.table[slot] = id
	t.list = append(t.list, id)
}

// find returns the slot of the label of the same device, set and hops, or the free one where it belongs.
func (t *bucket) find(labels []label, l *label) int {
	h := (l.set*0x9E3779B97F4A7C15 ^ uint64(l.device)*0xC2B2AE3D27D4EB4F ^ uint64(l.hops)<<1*0x165667B19E3779F9 ^ uint64(l.part)*0xD6E8FEB86659FD93)
	h ^= h >> 29
	h *= 0xBF58476D1CE4E5B9
	slot := int(h>>32) & (len(t.table) - 1)
	for {
		id := t.table[slot]
		if id < 0 {
			return slot
		}
		if o := &labels[id]; o.set == l.set && o.device == l.device && o.hops == l.hops && o.part == l.part {
			return slot
		}
		slot = (slot + 1) & (len(t.table) - 1)
	}
}

func (t *bucket) grow(labels []label) {
	t.table = make([]int32, max(16, 2*len(t.table)))
	for i := range t.table {
		t.table[i] = -1
	}
	for _, id := range t.list {
		t.table[t.find(labels, &labels[id])] = id
	}
}

// compared is with how many cheaper labels of its device a label is compared.
const compared = 48

// undominated returns the labels of a boundary that are worth going on with: by device, cheapest first.
func (s *labelSearch) undominated(b int) []int32 {
	list := s.at[b].list
	slices.SortFunc(list, func(i, j int32) int {
		a, b := &s.labels[i], &s.labels[j]
		return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.cost, b.cost), cmp.Compare(a.set, b.set), cmp.Compare(a.hops, b.hops), cmp.Compare(a.part, b.part))
	})
	keep := list[:0]
	first := 0 // of the device, in keep
	for _, id := range list {
		l := &s.labels[id]
		if len(keep) > 0 && s.labels[keep[len(keep)-1]].device != l.device {
			first = len(keep)
		}
		dominated := false
		for _, o := range keep[first:min(len(keep), first+compared)] {
			if c := &s.labels[o]; c.set&^l.set == 0 && (c.set^l.set)&s.pins == 0 && c.hops <= l.hops && c.part <= l.part {
				dominated = true
				break
			}
		}
		if !dominated {
			keep = append(keep, id)
		}
	}
	s.at[b].list, s.at[b].table = keep, nil
	return keep
}

// finish ends a way.
func (s *labelSearch) finish(id int32) {
	l := &s.labels[id]
	sum := l.cost + s.r.link[l.device][s.r.n]
	if !s.exact {
		sum -= s.credit
	}
	if sum >= s.best {
		return
	}
	if s.exact && s.r.value(s.way(id)) >= inf { // a pinned device is missing
		return
	}
	s.best, s.found = sum, id
}

// ends returns the least priced cost of ending at each boundary with each device, for labels without a part and for all.
func (s *labelSearch) ends() (clean, all []int64) {
	clean = make([]int64, (s.r.layers+1)*s.r.n)
	for i := range clean {
		clean[i] = inf
	}
	all = slices.Clone(clean)
	for b := range s.at {
		for _, id := range s.at[b].list {
			l := &s.labels[id]
			k := b*s.r.n + int(l.device)
			all[k] = min(all[k], l.priced)
			if l.part == 0 || b%s.r.model == 0 {
				clean[k] = min(clean[k], l.priced)
			}
		}
	}
	return clean, all
}

// leave notes the bound of what was not looked at.
func (s *labelSearch) leave(list []int32, b int) {
	note := func(list []int32, b int) {
		for _, id := range list {
			l := &s.labels[id]
			s.open = min(s.open, l.priced+s.after[l.part][b*s.r.n+int(l.device)]-s.credit)
		}
	}
	note(list, b)
	for e := b + 1; e <= s.r.layers; e++ {
		note(s.at[e].list, e)
	}
}

// way returns the hops that lead to a label.
func (s *labelSearch) way(id int32) []hop {
	var way []hop
	to := s.r.layers
	for ; id >= 0; id = s.labels[id].parent {
		l := &s.labels[id]
		way = append(way, hop{int(l.device), int(l.from), to})
		to = int(l.from)
	}
	slices.Reverse(way)
	return way
}
