// SPDX-License-Identifier: MIT

package solver

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCutsAreFree: whatever cuts cost, no way gets dearer by them, and it gets cheaper by what it keeps them with to spare.
func TestCutsAreFree(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 1))
	ways := 0
	for range 300 {
		in := randomInstance(random, Latency, 7, 12)
		r := compile(in).ring
		var cuts []cut
		var price []int64
		for range 1 + random.IntN(6) {
			c := cut{set: make([]bool, r.n), device: random.IntN(r.n)}
			for i := range c.set {
				if c.set[i] = i == c.device || random.IntN(2) == 0; c.set[i] {
					c.inside = append(c.inside, i)
				}
			}
			cuts, price = append(cuts, c), append(price, random.Int64N(1e9))
		}
		v := r.priced(cuts, price)
		for range 30 {
			way := randomWay(random, r)
			value := r.value(way)
			if value >= inf {
				continue
			}
			ways++
			want := value
			for k := range cuts {
				spare := -cuts[k].broken(r, way)
				if spare < 0 {
					t.Fatalf("%+v breaks %+v", way, cuts[k])
				}
				want -= int64(spare) * price[k]
			}
			if got := v.value(way); got != want || got > value {
				t.Fatalf("%+v costs %d, with cuts %d instead of %d", way, value, got, want)
			}
		}
	}
	if ways < 500 {
		t.Errorf("only %d ways", ways)
	}
}

// randomWay passes devices at random until all layers are done, or none is left.
func randomWay(random *rand.Rand, r *ring) []hop {
	var way []hop
	at := 0
	for _, i := range random.Perm(r.n) {
		if at == r.layers {
			break
		}
		if last := r.last[i][at]; last > at {
			to := last
			if !r.pinned[i] {
				to = at + 1 + random.IntN(last-at)
			}
			way = append(way, hop{i, at, to})
			at = to
		}
	}
	return way
}

// TestProgrammeBound: the prices of the linear programme bound the optimum from below, exactly where it has no gap, and not far from it
// elsewhere; and they are better than those of steps.
func TestProgrammeBound(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 12; seed++ {
		in := Generate(16, 40, seed)
		plan, err := Solve(t.Context(), in, Options{})
		if err != nil || !plan.Optimal {
			t.Fatalf("seed %d: %+v, %v", seed, plan, err)
		}
		c := compile(in)
		bound := func(price func(*search)) float64 {
			s := &search{r: c.ring, e: newEffort(t.Context(), 1e9), upper: inf, lower: -inf}
			for i := range c.ring.n {
				s.ids = append(s.ids, i)
			}
			s.reset()
			price(s)
			return float64(s.lower) / c.scale
		}
		tight := bound(func(s *search) { s.price() })
		if loose := bound(func(s *search) { s.ascend(firstSteps, 1) }); tight > plan.Cost || tight < 0.9*plan.Cost || tight < loose {
			t.Errorf("seed %d: bound %v, that of steps %v, optimum %v", seed, tight, loose, plan.Cost)
		}
	}
}

// TestFlowCuts: what the flow finds is broken, and of a solution in two circles it finds the one that does not pass the coordinator.
func TestFlowCuts(t *testing.T) {
	t.Parallel()
	const n = 5
	arcs := make([]float64, (n+1)*(n+1))
	for _, a := range [][2]int{{n, 0}, {0, 1}, {1, n}, {2, 3}, {3, 4}, {4, 2}} {
		arcs[a[0]*(n+1)+a[1]] = 1
	}
	found := newFlow(n, arcs).cuts(nil)
	if len(found) != 3 { // one for each of its devices
		t.Fatalf("%+v", found)
	}
	for _, c := range found {
		if !slices.Equal(c.inside, []int{2, 3, 4}) {
			t.Errorf("%+v", c)
		}
	}
	if again := newFlow(n, arcs).cuts(found); len(again) != 0 {
		t.Errorf("found again: %+v", again)
	}
}
