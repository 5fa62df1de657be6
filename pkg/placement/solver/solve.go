// SPDX-License-Identifier: MIT

package solver

import (
	"context"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Options of [Solve]. The zero value is right for most.
type Options struct {
	// Nodes bounds the effort, in search nodes of about a microsecond; 0: [DefaultNodes]. Equal effort gives equal plans.
	Nodes int64
}

// DefaultNodes is an effort of some seconds.
const DefaultNodes = 4_000_000

// Plan is what Solve found.
type Plan struct {
	Objective Objective
	Routes    [][]Hop // one for each replica: no device is in two of them
	Cost      float64 // as the objective says: seconds, of Patented its sum
	Bound     float64 // no plan costs less
	Optimal   bool    // none does: Cost is Bound, to the last unit
	Gap       float64 // (Cost - Bound) / Cost
	Nodes     int64   // search nodes spent
	Cancelled bool    // the context ended, or the effort was used up, before there was a proof
}

// Hop is a device's part of a route. A device is in a route once, but of [Patented], where its layers need not be contiguous.
type Hop struct {
	Device int // of the instance
	Layers protocol.LayerRange
}

// Solve returns the best plan it finds, and how far from the best there is it can be. It ends with a proof, or when the effort is used up
// or the context ends; then the plan is the best so far. The error is an [*InfeasibleError] if there is no plan, [ErrNoPlan] if none was
// found before the end, or says what is wrong with the instance.
func Solve(ctx context.Context, in *Instance, opt Options) (*Plan, error) {
	if err := in.validate(); err != nil {
		return nil, err
	}
	nodes := opt.Nodes
	if nodes <= 0 {
		nodes = DefaultNodes
	}
	e := newEffort(ctx, nodes)
	var o outcome
	c := compile(in)
	switch in.Objective {
	case Latency:
		o = c.latency(e)
	case Throughput:
		o = c.throughput(e)
	case Balanced:
		o = c.balanced(e)
	case Patented:
		p := newPatent(c)
		if o = p.solve(e); o.routes == nil {
			break
		}
		return o.plan(in, p.scale, e), nil
	}
	if o.routes == nil {
		return nil, c.explain(ctx, o.proven)
	}
	return o.plan(in, c.scale*float64(o.divisor), e), nil
}

// outcome is a search's result in units.
type outcome struct {
	routes      [][]Hop // nil: none was found
	cost, bound int64
	divisor     int64
	proven      bool // there is no way
}

func (o *outcome) plan(in *Instance, scale float64, e *effort) *Plan {
	p := &Plan{
		Objective: in.Objective, Routes: o.routes, Cost: float64(o.cost) / scale, Bound: float64(o.bound) / scale,
		Optimal: o.bound >= o.cost, Nodes: e.spent, Cancelled: e.over && o.bound < o.cost,
	}
	if o.cost > o.bound {
		p.Gap = float64(o.cost-o.bound) / float64(o.cost)
	}
	return p
}

// routes cuts a way into its copies, with the instance's devices and layers.
func (c *compiled) routes(way []hop) [][]Hop {
	if way == nil {
		return nil
	}
	out := make([][]Hop, c.in.replicas())
	for _, h := range way {
		k := h.from / c.ring.model
		off := k * c.ring.model
		out[k] = append(out[k], Hop{c.devices[h.device], protocol.LayerRange{From: h.from - off, To: h.to - off}})
	}
	// Copies are alike: the one with the first device by name goes first.
	slices.SortFunc(out, func(a, b []Hop) int {
		if c.in.Devices[a[0].Device].Name < c.in.Devices[b[0].Device].Name {
			return -1
		}
		return 1
	})
	return out
}

// latency is the mean of the routes' time a token.
func (c *compiled) latency(e *effort) outcome {
	way, cost, bound := minimise(c.ring, nil, inf, false, e)
	return outcome{c.routes(way), cost, bound, int64(c.in.replicas()), way == nil && bound >= cost}
}

// stage is the longest that a device, or a link between two, is busy with a token of a way.
func (c *compiled) stage(way []hop, links bool) int64 {
	r := c.ring
	prev, most := r.n, int64(0)
	for _, h := range way {
		most = max(most, r.enter[h.device]+r.work[h.device][h.to]-r.work[h.device][h.from])
		if links {
			if h.from%r.model == 0 {
				if prev != r.n {
					most = max(most, c.busy[prev][r.n])
				}
				prev = r.n
			}
			most = max(most, c.busy[prev][h.device])
		}
		prev = h.device
	}
	if links {
		most = max(most, c.busy[prev][r.n])
	}
	return most
}

// stages returns all values that a stage can have, rising.
func (c *compiled) stages(links bool) []int64 {
	r := c.ring
	var all []int64
	for i := range r.n {
		for a := range r.layers {
			for b := a + 1; b <= r.last[i][a]; b++ {
				if r.ends(i, a, b) {
					all = append(all, r.enter[i]+r.work[i][b]-r.work[i][a])
				}
			}
			if len(all) > 1<<20 {
				slices.Sort(all)
				all = slices.Compact(all)
			}
		}
	}
	if links {
		for i := range c.busy {
			for j := range c.busy {
				if i != j && r.link[i][j] < inf {
					all = append(all, c.busy[i][j])
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// below returns the ring of the ways whose stages are at most m.
func (c *compiled) below(m int64, links bool) *ring {
	r := *c.ring
	r.last = make([][]int, r.n)
	for i := range r.last {
		r.last[i] = slices.Clone(c.ring.last[i])
		end := 0
		for a := range r.last[i] {
			end = max(end, a)
			for end < r.layers && end < c.ring.last[i][a] && r.enter[i]+r.work[i][end+1]-r.work[i][a] <= m {
				end++
			}
			switch whole := c.ring.last[i][a]; {
			case whole <= a || end == a || r.pinned[i] && end < whole:
				r.last[i][a] = a
			default:
				r.last[i][a] = min(end, whole)
			}
		}
	}
	if links {
		r.link = make([][]int64, r.n+1)
		for i := range r.link {
			r.link[i] = slices.Clone(c.ring.link[i])
			for j := range r.link[i] {
				if c.busy[i][j] > m {
					r.link[i][j] = inf
				}
			}
		}
	}
	return &r
}

// throughput is the time between tokens. k streams of a token each in a way of length T give k/T tokens a second, until the slowest stage
// is busy all the time: max(T, k*stage)/k. So it looks for the least stage whose shortest way is no longer than k such stages.
func (c *compiled) throughput(e *effort) outcome {
	k, copies := int64(c.in.Load.Streams), int64(c.in.replicas())
	stages := c.stages(true)
	// Of ways whose stages are at most stages[lo] none is shorter than k*stages[lo]; of those up to stages[hi] one is.
	lo, hi := -1, len(stages)
	var best []hop
	cost, lowBound := int64(inf), int64(inf)
	take := func(way []hop) {
		if v := max(c.ring.value(way), k*c.stage(way, true)); v < cost {
			cost, best = v, way
		}
	}
	bound := int64(0)
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		if hi == len(stages) && lo < 0 {
			mid = len(stages) - 1
		}
		part := e.part(0.25)
		way, value, least := minimise(c.below(stages[mid], true), best, inf, false, part)
		e.rejoin(part)
		switch {
		case way == nil && least < inf: // nobody knows
			return outcome{c.routes(best), cost, min(bound, cost), k * copies, false}
		case way == nil:
			lo, lowBound = mid, inf
		default:
			take(way)
			switch {
			case value <= k*stages[mid]:
				hi = mid
			case least > k*stages[mid]:
				lo, lowBound = mid, least
			default: // the proof is not good enough to tell on which side the best way is
				return outcome{c.routes(best), cost, min(cost, least, c.atLeast(stages, lo, lowBound, k)), k * copies, false}
			}
		}
		if hi == len(stages) && lo == len(stages)-1 {
			break
		}
		bound = c.atLeast(stages, lo, lowBound, k)
	}
	if best == nil {
		return outcome{proven: true, divisor: 1}
	}
	return outcome{c.routes(best), cost, min(cost, c.atLeast(stages, lo, lowBound, k)), k * copies, false}
}

// atLeast is what throughput knows: a way has stages up to stages[lo], and costs lowBound or more, or it has a longer stage.
func (c *compiled) atLeast(stages []int64, lo int, lowBound, k int64) int64 {
	if lo < 0 {
		lowBound = inf
	}
	if lo+1 < len(stages) {
		return min(lowBound, k*stages[lo+1])
	}
	return lowBound
}

// balanced looks for the least work of the busiest device that leaves a way, then for the shortest such way.
func (c *compiled) balanced(e *effort) outcome {
	stages := c.stages(false)
	lo, hi := -1, len(stages)
	var best []hop
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		if hi == len(stages) && lo < 0 {
			mid = len(stages) - 1
		}
		part := e.part(0.25)
		way, _, least := minimise(c.below(stages[mid], false), nil, inf, true, part)
		e.rejoin(part)
		switch {
		case way != nil:
			best = way
			hi, _ = slices.BinarySearch(stages, c.stage(way, false))
		case least < inf: // nobody knows
			if best == nil {
				return outcome{}
			}
			return outcome{c.routes(best), c.stage(best, false), stages[lo+1], 1, false}
		default:
			lo = mid
		}
		if lo == len(stages)-1 {
			break
		}
	}
	if best == nil {
		return outcome{proven: true}
	}
	if way, _, _ := minimise(c.below(stages[hi], false), best, inf, false, e); way != nil {
		best = way
	}
	return outcome{c.routes(best), stages[hi], stages[hi], 1, false}
}

// duration is a time in seconds as a Duration.
func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
