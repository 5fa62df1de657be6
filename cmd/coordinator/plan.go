// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/inventory"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// planOptions are the flags of plan.
type planOptions struct {
	objective  string
	maxDevices int
	replicas   int
	effort     time.Duration
	lp, mps    string
	asJSON     bool

	fromSwarm, apply bool
	minGain          float64
	model, out       string
	swarm            swarmOptions
}

// nodesPerSecond is how many search nodes --effort takes a second for. A machine of today does more or less of them; equal flags give
// equal plans on all machines because it is not measured.
const nodesPerSecond = 1_000_000

func newPlan() *cobra.Command {
	o := &planOptions{}
	cmd := &cobra.Command{
		Use:   "plan {INVENTORY.yaml | --from-swarm}",
		Short: "Decide which machines should serve which layers, with a proof of how good the plan is",
		Long: `Decide which machines should serve which layers of a model, and prove how good the plan is: "optimal", or a gap that no plan can
close. The machines are those of an inventory, whose format and the model behind the figures are in docs/placement.md (deploy/inventories
has examples), or, with --from-swarm, the nodes of a live swarm as measured now: links, speeds, memory. Nothing is moved without --apply.`,
		Example: `  coordinator plan deploy/inventories/home.yaml
  coordinator plan --from-swarm --inventory-out swarm.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if o.fromSwarm == (len(args) > 0) || len(args) > 1 {
				return cmdline.Usagef("want an inventory, or --from-swarm: coordinator plan deploy/inventories/home.yaml")
			}
			if !o.fromSwarm && (o.apply || o.out != "") {
				return cmdline.Usagef("--apply and --inventory-out go with --from-swarm")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.fromSwarm {
				return o.runFromSwarm(cmd)
			}
			inv, err := inventory.Read(args[0])
			if err != nil {
				return err
			}
			_, _, err = o.report(cmd, inv)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.objective, "objective", "", "latency, throughput, balanced or patent (default: the inventory's, else latency)")
	f.IntVar(&o.maxDevices, "max-devices", 0, "use at most so many devices (default: the inventory's)")
	f.IntVar(&o.replicas, "replicas", 0, "devices that serve each layer (default: the inventory's, else 1)")
	f.DurationVar(&o.effort, "effort", 4*time.Second, "how long to search for a proof, about: a million search nodes a second")
	f.StringVar(&o.lp, "lp", "", "also write the instance to this file, in LP format for other solvers")
	f.StringVar(&o.mps, "mps", "", "also write it to this file, in free MPS format")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object (docs/cli.md)")
	f.BoolVar(&o.fromSwarm, "from-swarm", false, "measure the nodes of a swarm in place of reading an inventory")
	f.BoolVar(&o.apply, "apply", false, "with --from-swarm: move the nodes to the plan, one at a time; each must be started with --admin and what `coordinator id` prints")
	f.Float64Var(&o.minGain, "min-gain", placement.MoveGain, "with --apply: move nothing unless today's tiling costs so much more than the plan, as a share")
	f.StringVar(&o.model, "model", "", "with --from-swarm: name or ID prefix of the model (default: the only one)")
	f.StringVar(&o.out, "inventory-out", "", "with --from-swarm: also write what was measured to this file, as an inventory")
	o.swarm.register(cmd)
	return cmd
}

// report plans and prints, with what the flags say. It returns the plan's routes, and how
// much dearer today's tiling is, infinite where it cannot be compared.
func (o *planOptions) report(cmd *cobra.Command, inv *inventory.Inventory) (routes [][]solver.Hop, gain float64, err error) {
	if err := o.overrule(cmd, &inv.Instance); err != nil {
		return nil, 0, err
	}
	if err := o.write(&inv.Instance); err != nil {
		return nil, 0, err
	}
	p, r, err := o.plan(cmd.Context(), inv)
	if err != nil {
		return nil, 0, err
	}
	gain = math.Inf(1)
	for _, c := range r.Compare {
		if c.Plan == "today" && c.Cost != nil {
			gain = c.Effect
		}
	}
	if o.asJSON {
		return p.Routes, gain, printJSON(cmd.OutOrStdout(), r)
	}
	return p.Routes, gain, r.print(cmd.OutOrStdout())
}

// overrule lets flags overrule the inventory.
func (o *planOptions) overrule(cmd *cobra.Command, in *solver.Instance) error {
	if o.objective != "" {
		if !slices.Contains(solver.Objectives, solver.Objective(o.objective)) {
			return cmdline.Usagef("--objective %q: want one of %v", o.objective, solver.Objectives)
		}
		in.Objective = solver.Objective(o.objective)
	}
	if cmd.Flags().Changed("max-devices") {
		if o.maxDevices < 1 {
			return cmdline.Usagef("--max-devices %d: want 1 or more", o.maxDevices)
		}
		in.MaxDevices = o.maxDevices
	}
	if cmd.Flags().Changed("replicas") {
		if o.replicas < 1 || o.replicas > solver.MaxReplicas {
			return cmdline.Usagef("--replicas %d: want 1 to %d", o.replicas, solver.MaxReplicas)
		}
		in.Replicas = o.replicas
	}
	if o.effort < time.Millisecond || o.effort > 24*time.Hour {
		return cmdline.Usagef("--effort %s: want 1ms to 24h", o.effort)
	}
	return nil
}

// write writes the files asked for.
func (o *planOptions) write(in *solver.Instance) error {
	for _, f := range []struct {
		path  string
		write func(io.Writer, *solver.Instance) error
	}{{o.lp, solver.WriteLP}, {o.mps, solver.WriteMPS}} {
		if f.path == "" {
			continue
		}
		file, err := os.Create(f.path)
		if err != nil {
			return err
		}
		err = f.write(file, in)
		if err = errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	return nil
}

// nodes is the effort in search nodes.
func (o *planOptions) nodes() int64 { return max(1, int64(o.effort.Seconds()*nodesPerSecond)) }

// planResult is what `plan --json` prints, documented in docs/cli.md. Times are in milliseconds.
type planResult struct {
	Model       string           `json:"model"`
	Layers      int              `json:"layers"`
	Objective   solver.Objective `json:"objective"`
	Cost        float64          `json:"cost"`
	Bound       float64          `json:"bound"`
	Gap         float64          `json:"gap"`
	Optimal     bool             `json:"optimal"`
	SearchNodes int64            `json:"search_nodes"`
	Cancelled   bool             `json:"cancelled"`
	Devices     int              `json:"devices"`
	Used        int              `json:"devices_used"`
	Routes      []routeResult    `json:"routes"`
	Binding     []string         `json:"binding"`
	WhatIf      []whatIfResult   `json:"what_if"`
	Compare     []compareResult  `json:"compare"`
}

type routeResult struct {
	Hops            []planHop `json:"hops"`
	TokenMS         float64   `json:"token_ms"`
	FirstTokenMS    float64   `json:"first_token_ms"`
	TokensPerSecond float64   `json:"tokens_per_second"`
	ReturnMS        float64   `json:"return_ms"`
}

type planHop struct {
	Device    string  `json:"device"`
	Layers    string  `json:"layers"`
	ComputeMS float64 `json:"compute_ms"`
	LinkMS    float64 `json:"link_ms"`
	Share     float64 `json:"share"`
	Memory    int64   `json:"memory_bytes"`
	HasMemory int64   `json:"device_memory_bytes"`
}

type whatIfResult struct {
	Change string   `json:"change"`
	Cost   *float64 `json:"cost"` // null: no plan is possible then
	Effect float64  `json:"effect"`
	Proven bool     `json:"proven"`
}

type compareResult struct {
	Plan         string   `json:"plan"`
	Cost         *float64 `json:"cost"`
	Effect       float64  `json:"effect"`
	TokenMS      float64  `json:"token_ms"`
	FirstTokenMS float64  `json:"first_token_ms"`
	Why          string   `json:"why"` // it is not possible; "": it is
}

// plan solves the inventory's instance and asks around the solution.
func (o *planOptions) plan(ctx context.Context, inv *inventory.Inventory) (*solver.Plan, *planResult, error) {
	in := &inv.Instance
	p, err := solver.Solve(ctx, in, solver.Options{Nodes: o.nodes()})
	if err != nil {
		return nil, nil, err
	}
	r := &planResult{
		Model: inv.Model, Layers: len(in.Model.Layers), Objective: p.Objective, Cost: report(in, p.Cost), Bound: report(in, p.Bound), Gap: p.Gap, Optimal: p.Optimal,
		SearchNodes: p.Nodes, Cancelled: p.Cancelled, Devices: len(in.Devices), Binding: binding(in, p.Routes), WhatIf: []whatIfResult{},
	}
	used := map[int]bool{}
	for _, route := range p.Routes {
		r.Routes = append(r.Routes, newRouteResult(in, route))
		for _, h := range route {
			used[h.Device] = true
		}
	}
	r.Used = len(used)
	r.Compare = compare(inv, p.Cost)
	r.WhatIf = o.whatIfs(ctx, in, p)
	return p, r, ctx.Err()
}

// report turns a cost into what is printed: milliseconds, of the patent its sum.
func report(in *solver.Instance, cost float64) float64 {
	if in.Objective == solver.Patented {
		return cost
	}
	return cost * 1000
}

func newRouteResult(in *solver.Instance, route []solver.Hop) routeResult {
	p := solver.Predict(in, route)
	r := routeResult{TokenMS: p.Token * 1000, FirstTokenMS: p.FirstToken * 1000, TokensPerSecond: p.TokensPerSecond, ReturnMS: p.Return * 1000}
	for i, h := range route {
		t, d := p.Hops[i], &in.Devices[h.Device]
		r.Hops = append(r.Hops, planHop{
			Device: d.Name, Layers: h.Layers.String(), ComputeMS: t.Compute * 1000, LinkMS: t.Link * 1000,
			Share: (t.Compute + t.Link) / p.Token, Memory: t.Memory, HasMemory: d.Memory,
		})
	}
	return r
}

// binding says which constraints the plan runs against.
func binding(in *solver.Instance, routes [][]solver.Hop) []string {
	out := []string{}
	used := map[int]bool{}
	for _, route := range routes {
		for _, h := range route {
			used[h.Device] = true
			d := &in.Devices[h.Device]
			more := int64(math.MaxInt64)
			if h.Layers.From > 0 {
				more = min(more, in.Need(protocol.LayerRange{From: h.Layers.From - 1, To: h.Layers.To}))
			}
			if h.Layers.To < len(in.Model.Layers) {
				more = min(more, in.Need(protocol.LayerRange{From: h.Layers.From, To: h.Layers.To + 1}))
			}
			switch {
			case d.Pinned != nil:
				out = append(out, fmt.Sprintf("%s is pinned to %s", d.Name, d.Pinned))
			case more != math.MaxInt64 && more > d.Memory && in.Objective != solver.Patented:
				out = append(out, fmt.Sprintf("memory of %s", d.Name))
			}
		}
	}
	if in.MaxDevices == len(used) {
		out = append(out, fmt.Sprintf("at most %s", plural(in.MaxDevices, "device")))
	}
	return out
}
