// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/placement/solver"
)

// cost writes a cost of the objective.
func (r *planResult) cost(v float64) string {
	switch r.Objective {
	case solver.Patented:
		return fmt.Sprintf("%.4f", v)
	case solver.Throughput:
		return fmt.Sprintf("%.2f ms between tokens, %.2f tokens/s", v, 1000/v)
	case solver.Balanced:
		return fmt.Sprintf("%.2f ms a token on the busiest device", v)
	case solver.Latency:
		return fmt.Sprintf("%.2f ms a token", v)
	}
	return ""
}

// print writes the plan for people.
func (r *planResult) print(w io.Writer) error {
	proof := "optimal"
	if !r.Optimal {
		proof = fmt.Sprintf("gap %.2f %%: no plan is below %s", 100*r.Gap, r.cost(r.Bound))
	}
	fmt.Fprintf(w, "%s, %s on %d of %s, for %s: %s (%s)\n", r.Model, plural(r.Layers, "layer"), r.Used, plural(r.Devices, "device"), r.Objective, r.cost(r.Cost), proof)
	for i, route := range r.Routes {
		if len(r.Routes) > 1 {
			fmt.Fprintf(w, "\nreplica %d\n", i+1)
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "LAYERS\tDEVICE\tCOMPUTE\tLINK TO IT\tSHARE\tMEMORY")
		for _, h := range route.Hops {
			fmt.Fprintf(t, "%s\t%s\t%.2f ms\t%.2f ms\t%.0f %%\t%s of %s\n", h.Layers, h.Device, h.ComputeMS, h.LinkMS, 100*h.Share, cmdline.FormatBytes(h.Memory),
				cmdline.FormatBytes(h.HasMemory))
		}
		fmt.Fprintf(t, "\tcoordinator\t\t%.2f ms\t%.0f %%\n", route.ReturnMS, 100*route.ReturnMS/route.TokenMS)
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(w, "a token takes %.2f ms, the first one %.2f ms; %.2f tokens/s with the streams of the load\n", route.TokenMS, route.FirstTokenMS, route.TokensPerSecond)
	}
	fmt.Fprintln(w)
	if len(r.Binding) > 0 {
		fmt.Fprintf(w, "binding: %s\n", strings.Join(r.Binding, ", "))
	}
	for _, x := range r.WhatIf {
		switch {
		case x.Cost == nil:
			fmt.Fprintf(w, "%s: no plan\n", x.Change)
		case x.Proven:
			fmt.Fprintf(w, "%s: %s\n", x.Change, percent(x.Effect))
		default:
			fmt.Fprintf(w, "%s: about %s\n", x.Change, percent(x.Effect))
		}
	}
	for _, c := range r.Compare {
		switch {
		case c.Why != "":
			fmt.Fprintf(w, "%s: not possible: %s\n", c.Plan, c.Why)
		case c.Cost == nil:
			fmt.Fprintf(w, "%s, as one route: %.2f ms a token, the first one %.2f ms\n", c.Plan, c.TokenMS, c.FirstTokenMS)
		default:
			fmt.Fprintf(w, "%s: %s (%s)\n", c.Plan, r.cost(*c.Cost), percent(c.Effect))
		}
	}
	_, err := fmt.Fprintf(w, "%d search nodes\n", r.SearchNodes)
	return err
}
