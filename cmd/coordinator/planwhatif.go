// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/shardnode/shardnode/internal/inventory"
	"github.com/shardnode/shardnode/pkg/placement/solver"
)

// maxWhatIfs is for how many devices each question is asked: those with the largest parts of the time.
const maxWhatIfs = 6

// moreMemory is what a device is given in a what-if.
const moreMemory = 8 << 30

// whatIfs solves the instance again with one thing changed: without a device, and with more memory on it.
func (o *planOptions) whatIfs(ctx context.Context, in *solver.Instance, p *solver.Plan) []whatIfResult {
	out := []whatIfResult{}
	devices := largest(in, p.Routes)
	ask := func(change string, v *solver.Instance) {
		w := whatIfResult{Change: change}
		// A plan without a proof is compared with one found by as much effort; a proven one needs no more than it took, often.
		q, err := solver.Solve(ctx, v, solver.Options{Nodes: o.nodes() / 4})
		if err == nil {
			cost := report(in, q.Cost)
			w.Cost, w.Effect, w.Proven = &cost, q.Cost/p.Cost-1, q.Optimal && p.Optimal
		}
		out = append(out, w)
	}
	for _, d := range devices {
		if len(in.Devices) > 1 && ctx.Err() == nil && in.Devices[d].Pinned == nil && (in.Objective != solver.Patented || d > 0) {
			ask("without "+in.Devices[d].Name, in.Without(d))
		}
	}
	for _, d := range devices {
		if ctx.Err() == nil && in.Devices[d].Pinned == nil {
			ask("8 GiB more on "+in.Devices[d].Name, in.WithMemory(d, moreMemory))
		}
	}
	return out
}

// largest returns the devices of the plan with the largest parts of the time, in the order of the routes.
func largest(in *solver.Instance, routes [][]solver.Hop) []int {
	time := map[int]float64{}
	var devices []int
	for _, route := range routes {
		p := solver.Predict(in, route)
		for i, h := range route {
			if _, seen := time[h.Device]; !seen {
				devices = append(devices, h.Device)
			}
			time[h.Device] += p.Hops[i].Compute + p.Hops[i].Link
		}
	}
	top := slices.Clone(devices)
	slices.SortStableFunc(top, func(a, b int) int { return cmp.Compare(time[b], time[a]) })
	top = top[:min(len(top), maxWhatIfs)]
	return slices.DeleteFunc(devices, func(d int) bool { return !slices.Contains(top, d) })
}

// compare prices what is served today, and the plans that others make, as one route.
func compare(inv *inventory.Inventory, cost float64) []compareResult {
	in := &inv.Instance
	out := []compareResult{}
	add := func(name string, route []solver.Hop) {
		c := compareResult{Plan: name}
		if route == nil {
			c.Why = "it does not fit the devices' memory"
		} else if c.Why = solver.Allowed(in, [][]solver.Hop{route}); c.Why == "" {
			p := solver.Predict(in, route)
			c.TokenMS, c.FirstTokenMS = p.Token*1000, p.FirstToken*1000
			if v := solver.Cost(in, [][]solver.Hop{route}); in.Replicas <= 1 {
				shown := report(in, v)
				c.Cost, c.Effect = &shown, v/cost-1
			}
		}
		out = append(out, c)
	}
	if route, ok := today(inv); ok {
		add("today", route)
	}
	add("even split", solver.Even(in))
	add("in proportion to memory", solver.ByMemory(in))
	add("in proportion to FLOP/s", solver.BySpeed(in))
	return out
}

// today is a route through what the inventory says is served today: from each layer on, by whoever serves furthest. It reports false where
// the inventory says nothing.
func today(inv *inventory.Inventory) ([]solver.Hop, bool) {
	var route []solver.Hop
	any := false
	for at := 0; at < len(inv.Instance.Model.Layers); {
		next := solver.Hop{Device: -1}
		for i, r := range inv.Today {
			if r == nil {
				continue
			}
			any = true
			used := slices.ContainsFunc(route, func(h solver.Hop) bool { return h.Device == i })
			if r.From <= at && r.To > max(at, next.Layers.To) && !used {
				next.Device, next.Layers.From, next.Layers.To = i, at, r.To
			}
		}
		if next.Device < 0 {
			return nil, any
		}
		route = append(route, next)
		at = next.Layers.To
	}
	return route, any
}

// percent writes a change for people.
func percent(effect float64) string {
	if -0.0005 < effect && effect < 0.0005 {
		return "no change"
	}
	return fmt.Sprintf("%+.1f %%", 100*effect)
}
