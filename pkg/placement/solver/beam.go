// SPDX-License-Identifier: MIT

package solver

import "slices"

// beam looks for good ways: it goes through boundaries in order and keeps the few most promising beginnings that end at each, judged by
// what they cost and what at least must follow. It proves nothing.
type beam struct {
	r     *ring
	v     *ring // with prices of cuts
	p     *prices
	after []int64 // as relaxation.after gives
	all   []stub
	width int
	at    [][]int32 // per boundary: by bound, at most width
}

// stub is the beginning of a way.
type stub struct {
	priced, bound int64
	parent        int32 // -1: none
	device        int32
	from          int32
	hops          int32
}

func newBeam(r, v *ring, p *prices, after []int64, width int) *beam {
	return &beam{r: r, v: v, p: p, after: after, width: width, at: make([][]int32, r.layers+1)}
}

// run returns the best way it finds, nil if it finds none.
func (b *beam) run(e *effort) []hop {
	r := b.r
	b.extend(-1, 0)
	for at := 1; at < r.layers; at++ {
		for _, id := range b.at[at] {
			if !e.spend(1 + r.n/stepShare) {
				return nil
			}
			b.extend(id, at)
		}
	}
	var best []hop
	least := int64(inf)
	for _, id := range b.at[r.layers] {
		way := b.way(id)
		if v := r.value(way); v < least {
			best, least = way, v
		}
	}
	return best
}

func (b *beam) extend(id int32, at int) {
	r := b.v
	s := stub{device: int32(r.n)}
	if id >= 0 {
		s = b.all[id]
	}
	if int(s.hops) >= r.hops {
		return
	}
	for j := range r.n {
		far := r.last[j][at]
		if far <= at {
			continue
		}
		link := r.into(int(s.device), j, at)
		if link >= inf {
			continue
		}
		priced := s.priced + link + r.enter[j] + b.p.device[j] + b.p.hop
		for e := far; e > at && r.ends(j, at, e); e-- {
			next := stub{priced: priced + r.work[j][e] - r.work[j][at], parent: id, device: int32(j), from: int32(at), hops: s.hops + 1}
			if next.bound = next.priced + b.after[e*r.n+j]; next.bound < inf {
				b.keep(next, e)
			}
		}
	}
}

// keep puts a stub in its place at a boundary, if it has one.
func (b *beam) keep(s stub, at int) {
	list := b.at[at]
	k := len(list)
	for k > 0 && b.all[list[k-1]].bound > s.bound {
		k--
	}
	if k == b.width {
		return
	}
	for id := s.parent; id >= 0; id = b.all[id].parent {
		if b.all[id].device == s.device {
			return
		}
	}
	if len(list) == b.width {
		list = list[:b.width-1]
	}
	b.at[at] = slices.Insert(list, k, int32(len(b.all)))
	b.all = append(b.all, s)
}

func (b *beam) way(id int32) []hop {
	var way []hop
	to := b.r.layers
	for ; id >= 0; id = b.all[id].parent {
		s := &b.all[id]
		way = append(way, hop{int(s.device), int(s.from), to})
		to = int(s.from)
	}
	slices.Reverse(way)
	return way
}
