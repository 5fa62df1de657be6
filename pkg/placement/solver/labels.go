// SPDX-License-Identifier: MIT

package solver

import (
	"cmp"
	"math/bits"
	"slices"
)

// The label search goes through boundaries in order and keeps, for each device that begins there, the ways that lead to it: labels. A
// label knows all devices it has used. Labels whose cost and what must still follow reach the best way known are dropped, and so are
// those dominated by another one of the device that costs no more and has used no more. Only so many labels of a boundary are gone on
// with, the most promising ones. Where there are no more than that the search is exact.

// maxLabelled is the most devices a label search can tell apart.
const maxLabelled = 64

// mostLabels bounds a search's memory: 100 MB.
const mostLabels = 1 << 21

// label is a way up to a boundary where a device begins.
type label struct {
	cost   int64  // without prices, the device's entry included
	priced int64  // with prices
	bound  int64  // with prices, and with what at least must follow
	set    uint64 // devices used, the one that begins included
	parent int32  // -1: none
	begin  int16  // boundary where the device begins
	device int16
	hops   int16 // 0 where they are not limited
	part   uint8 // 1: in this copy of the model a range is neither full nor of one layer (see even)
}

type labelSearch struct {
	r       *ring
	v       *ring // with prices of cuts
	p       *prices
	paid    []int64 // [n]: a use's price
	limited bool    // hops are
	pins    uint64  // devices that must be used
	room    []int   // [n]: the most layers of a range
	total   int     // sum of room
	even    *even   // nil: ranges of any length are looked at
	ahead   *ahead
	next    [][]uint16 // as recall's
	upper   int64      // only ways below it are wanted
	e       *effort
	width   int // labels of a boundary that are gone on with

	labels []label
	at     []bucket // per boundary
	credit int64
	open   int64 // the least bound of labels that were not gone on with
	way    []hop // the best one found below upper
}

// bucket holds the labels of one boundary: of each device and set the cheapest.
type bucket struct {
	list  []int32
	table []int32 // open addressing; -1: free. Length a power of two
}

func newLabelSearch(r *ring, x *recall, a *ahead, upper int64, width int, e *effort) *labelSearch {
	s := &labelSearch{r: r, v: x.r, p: x.p, ahead: a, next: x.next, upper: upper, width: width, e: e, credit: x.p.credit(r), open: inf}
	s.limited = r.hops < min(r.n, r.layers)
	s.paid = make([]int64, r.n)
	for i, must := range r.pinned {
		if must {
			s.pins |= 1 << i
		}
		s.paid[i] = x.p.device[i] + x.p.hop
	}
	s.room = r.room()
	for _, n := range s.room {
		s.total += n
	}
	s.even = newEven(r)
	s.at = make([]bucket, r.layers)
	return s
}

// labelShare is how many new labels count as one search node, beside the one that they come from.
const labelShare = 2

// run searches. It reports whether it came to its end.
func (s *labelSearch) run() bool {
	r := s.r
	for j := range r.n {
		if cost := r.link[r.n][j]; cost < inf {
			l := label{cost: cost + r.enter[j], set: 1 << j, parent: -1, device: int16(j)}
			l.priced = s.v.link[r.n][j] + s.v.enter[j] + s.paid[j]
			if s.limited {
				l.hops = 1
			}
			if r.last[j][0] > 0 {
				s.add(l, 0)
			}
		}
	}
	before := 0
	for b := range r.layers {
		list := s.undominated(b)
		for k, id := range list {
			if k == s.width {
				s.leave(list[k:])
				break
			}
			if s.labels[id].bound-s.credit >= s.upper {
				continue
			}
			if !s.e.spend(1+(len(s.labels)-before)/labelShare) || len(s.labels) > mostLabels {
				s.leave(list[k:])
				for _, t := range s.at[b+1:] {
					s.leave(t.list)
				}
				return false
			}
			before = len(s.labels)
			s.extend(id, b)
		}
	}
	return s.open >= s.upper
}

// extend adds every range that may follow at a label, and every device that may follow that.
func (s *labelSearch) extend(id int32, b int) {
	r := s.r
	l := s.labels[id]
	i := int(l.device)
	least := r.layers - s.total // the range must end here or further, for what is not used yet to hold the rest
	for m := l.set; m != 0; m &= m - 1 {
		j := bits.TrailingZeros64(m)
		least += s.room[j]
	}
	last := s.limited && int(l.hops) >= r.hops
	for e := r.last[i][b]; e > b && e >= least && r.ends(i, b, e); e-- {
		part := l.part
		if b%r.model == 0 {
			part = 0
		}
		if s.even != nil && !s.even.whole(r, i, b, e) {
			if part++; part > 1 {
				e = min(e, b+2) // all but one layer would be a second part
				continue
			}
		}
		work := r.work[i][e] - r.work[i][b]
		if e == r.layers {
			if v := l.cost + work + r.link[i][r.n]; v < s.upper && l.set&s.pins == s.pins {
				s.upper, s.way = v, s.back(id)
			}
			continue
		}
		if last {
			continue
		}
		for _, j := range s.next[e*r.n+i] {
			if l.set>>j&1 != 0 {
				continue
			}
			next := label{
				cost:   l.cost + work + r.between(i, int(j), e) + r.enter[j],
				priced: l.priced + work + s.v.between(i, int(j), e) + s.v.enter[j] + s.paid[j], set: l.set | 1<<j, parent: id, device: int16(j), begin: int16(e),
				hops: l.hops, part: part,
			}
			if s.limited {
				next.hops++
			}
			s.add(next, e)
		}
	}
}

// add puts a label at a boundary, unless it leads nowhere or one of the same device and set is no dearer there.
func (s *labelSearch) add(l label, b int) {
	rest := s.ahead.least(b, int(l.device), l.set)
	if l.bound = l.priced + rest; rest >= inf || l.bound-s.credit >= s.upper {
		return
	}
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

// undominated returns the labels of a boundary that are worth going on with, the most promising first.
func (s *labelSearch) undominated(b int) []int32 {
	list := s.at[b].list
	if most := 4 * s.width; len(list) > most {
		slices.SortFunc(list, func(i, j int32) int {
			return cmp.Or(cmp.Compare(s.labels[i].bound, s.labels[j].bound), cmp.Compare(i, j))
		})
		s.leave(list[most:])
		list = list[:most]
	}
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
	slices.SortFunc(keep, func(i, j int32) int {
		return cmp.Or(cmp.Compare(s.labels[i].bound, s.labels[j].bound), cmp.Compare(i, j))
	})
	s.at[b].list, s.at[b].table = keep, nil
	return keep
}

// leave notes the bound of what is not gone on with.
func (s *labelSearch) leave(list []int32) {
	for _, id := range list {
		s.open = min(s.open, s.labels[id].bound-s.credit)
	}
}

// back returns the way whose last device is a label's.
func (s *labelSearch) back(id int32) []hop {
	var way []hop
	for to := s.r.layers; id >= 0; {
		l := &s.labels[id]
		way = append(way, hop{int(l.device), int(l.begin), to})
		to, id = int(l.begin), l.parent
	}
	slices.Reverse(way)
	return way
}
