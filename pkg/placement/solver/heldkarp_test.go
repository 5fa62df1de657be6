// SPDX-License-Identifier: MIT

package solver

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// TestAgainstHeldKarp compares latency plans of ten devices, more than can be enumerated, with the dynamic programme of Held and Karp over
// the sets of devices used, the last of them, and the layers done.
func TestAgainstHeldKarp(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(10, 0))
	var all []*Instance
	for seed := range uint64(4) {
		all = append(all, Generate(10, 24, seed+1))
	}
	for len(all) < 40 {
		in := randomInstance(r, Latency, 10, 14)
		in.Replicas = 1
		for i := range in.Devices {
			in.Devices[i].Name, in.Devices[i].Pinned = fmt.Sprintf("d%d", (i*7)%10), nil
			if r.IntN(2) == 0 { // small ones, so that many are needed
				in.Devices[i].Memory = int64(1+r.IntN(3)) * 1e8
			}
		}
		all = append(all, in)
	}
	plans := 0
	for k, in := range all {
		want := heldKarp(in)
		plan, err := Solve(t.Context(), in, Options{})
		var no *InfeasibleError
		if math.IsInf(want, 1) {
			if !errors.As(err, &no) {
				t.Errorf("instance %d: %v, %v, but there is no plan", k, plan, err)
			}
			continue
		}
		if plans++; err != nil || !plan.Optimal || math.Abs(plan.Cost-want) > 1e-9*want+1e-10 {
			t.Errorf("instance %d: %+v, %v, Held-Karp finds %v", k, plan, err, want)
		}
	}
	if plans < 15 {
		t.Errorf("only %d instances had a plan", plans)
	}
}

// heldKarp returns the least latency, infinite if there is no plan. Without pinned devices and replicas.
func heldKarp(in *Instance) float64 {
	n, layers := len(in.Devices), len(in.Model.Layers)
	least := make([]float64, (1<<n)*n*(layers+1)) // of a way through a set, by its last device and the layers done
	for k := range least {
		least[k] = math.Inf(1)
	}
	at := func(set, last, done int) *float64 { return &least[(set*n+last)*(layers+1)+done] }
	best := math.Inf(1)
	// extend has device j compute from a on, behind a way of some cost.
	extend := func(set, j, a int, cost float64) {
		cost += in.Devices[j].Overhead.Seconds()
		free := in.Devices[j].Memory
		for b := a; b < layers; b++ {
			if free -= in.need(b); free < 0 {
				return
			}
			cost += in.stepSeconds(&in.Devices[j], b)
			p := at(set|1<<j, j, b+1)
			*p = min(*p, cost)
		}
	}
	for j := range n {
		if in.allows(n, j) {
			extend(0, j, 0, in.linkSeconds(n, j))
		}
	}
	for set := 1; set < 1<<n; set++ {
		if size := bits.OnesCount(uint(set)); in.MaxDevices > 0 && size > in.MaxDevices {
			continue
		}
		for i := range n {
			for done := 1; done <= layers; done++ {
				cost := *at(set, i, done)
				if math.IsInf(cost, 1) {
					continue
				}
				if done == layers {
					if in.allows(i, n) {
						best = min(best, cost+in.linkSeconds(i, n))
					}
					continue
				}
				for j := range n {
					if set>>j&1 == 0 && in.allows(i, j) {
						extend(set, j, done, cost+in.linkSeconds(i, j))
					}
				}
			}
		}
	}
	return best
}
