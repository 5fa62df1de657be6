// SPDX-License-Identifier: MIT

package solver

import (
	"context"
	"errors"
	"fmt"
	"sort"
)

// ErrNoPlan says that effort or context ended before there was a plan, or a proof that there is none.
var ErrNoPlan = errors.New("no plan was found with this effort, nor a proof that there is none: allow more search nodes")

// InfeasibleError says that no plan keeps to all constraints, which one fails, and by how much.
type InfeasibleError struct {
	Constraint string // memory, pinned, max-devices, replicas, forbidden or links
	Detail     string
}

// Error implements error.
func (e *InfeasibleError) Error() string {
	return fmt.Sprintf("no plan is possible: %s: %s", e.Constraint, e.Detail)
}

// explainNodes is the effort of one question whether something is possible.
const explainNodes = 200_000

// possible reports whether an instance has a plan at all.
func possible(ctx context.Context, in *Instance) bool {
	c := compile(in)
	way, _, _ := minimise(c.ring, nil, inf, true, newEffort(ctx, explainNodes))
	return way != nil
}

// explain returns why there is no plan: of the constraints, the first without which there is one.
func (c *compiled) explain(ctx context.Context, proven bool) error {
	in := c.in
	if !proven {
		return ErrNoPlan
	}
	if err := in.explainPins(); err != nil {
		return err
	}
	if err := in.explainMemory(); err != nil {
		return err
	}
	most := len(in.Devices)
	with := func(change func(v *Instance)) *Instance {
		v := *in
		change(&v)
		return &v
	}
	if in.MaxDevices > 0 && in.MaxDevices < most {
		if v := with(func(v *Instance) { v.MaxDevices = 0 }); possible(ctx, v) {
			least := in.MaxDevices + 1 + sort.Search(most-in.MaxDevices-1, func(k int) bool {
				return possible(ctx, with(func(v *Instance) { v.MaxDevices = in.MaxDevices + 1 + k }))
			})
			return &InfeasibleError{"max-devices", fmt.Sprintf("%d devices are not enough, %d would be", in.MaxDevices, least)}
		}
	}
	if len(in.Forbidden) > 0 {
		if v := with(func(v *Instance) { v.Forbidden = nil }); possible(ctx, v) {
			return &InfeasibleError{"forbidden", fmt.Sprintf("the %d forbidden pairs leave no route; without them there is one", len(in.Forbidden))}
		}
	}
	if in.replicas() > 1 {
		if v := with(func(v *Instance) { v.Replicas = 1 }); possible(ctx, v) {
			most := 1
			for most+1 < in.replicas() && possible(ctx, with(func(v *Instance) { v.Replicas = most + 1 })) {
				most++
			}
			return &InfeasibleError{"replicas", fmt.Sprintf("each layer can be served %d times, not %d", most, in.replicas())}
		}
	}
	if v := with(func(v *Instance) { v.Links = linked(v.Links) }); possible(ctx, v) {
		return &InfeasibleError{"links", "too many machines cannot reach each other: with a link between all of them there is a route"}
	}
	// What is left is memory in pieces that do not add up to whole layers.
	extra := 1 + sort.Search(1<<30, func(k int) bool {
		return possible(ctx, with(func(v *Instance) {
			v.Devices = append([]Device(nil), in.Devices...)
			for i := range v.Devices {
				v.Devices[i].Memory += int64(k+1) << 20
			}
		}))
	})
	return &InfeasibleError{"memory", fmt.Sprintf("the devices' memory does not add up to whole layers: %d MiB more on each would do", extra)}
}

// linked returns links of which none is missing.
func linked(links [][]Link) [][]Link {
	out := make([][]Link, len(links))
	for i, row := range links {
		out[i] = append([]Link(nil), row...)
		for j := range out[i] {
			out[i][j].None = false
		}
	}
	return out
}

// explainPins looks at pinned ranges alone.
func (in *Instance) explainPins() error {
	uses := make([]int, len(in.Model.Layers))
	for i := range in.Devices {
		d := &in.Devices[i]
		if d.Pinned == nil {
			continue
		}
		var need int64
		for l := d.Pinned.From; l < d.Pinned.To; l++ {
			need += in.need(l)
			if uses[l]++; uses[l] > in.replicas() {
				return &InfeasibleError{"pinned", fmt.Sprintf("layer %d is pinned to %d devices, and %d are to serve it", l, uses[l], in.replicas())}
			}
		}
		if need > d.Memory {
			return &InfeasibleError{"pinned", fmt.Sprintf("layers %s do not fit %s: they take %d bytes, %d more than it has", d.Pinned, d.Name, need, need-d.Memory)}
		}
	}
	return nil
}

// explainMemory looks at memory alone, as if it could be cut anywhere.
func (in *Instance) explainMemory() error {
	var need, have int64
	for l := range in.Model.Layers {
		need += in.need(l) * int64(in.replicas())
	}
	for i := range in.Devices {
		have += in.Devices[i].Memory
	}
	if need > have {
		return &InfeasibleError{"memory", fmt.Sprintf("%s take %d bytes, all devices together have %d: %d bytes are missing", in.what(), need, have, need-have)}
	}
	return nil
}

// what names what needs the memory.
func (in *Instance) what() string {
	if in.replicas() > 1 {
		return fmt.Sprintf("%d copies of %d layers with their KV caches", in.replicas(), len(in.Model.Layers))
	}
	return fmt.Sprintf("%d layers with their KV caches", len(in.Model.Layers))
}
