// SPDX-License-Identifier: MIT

package solver

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Limits of an instance.
const (
	MaxDevices  = 2048
	MaxReplicas = 64
	maxRows     = 1 << 24 // layers of all copies, times devices
	maxBytes    = 1 << 56
	maxTokens   = 1 << 24
)

// validate returns everything that is wrong.
func (in *Instance) validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	n, layers := len(in.Devices), len(in.Model.Layers)
	if n < 1 || n > MaxDevices {
		bad("%d devices: want 1 to %d", n, MaxDevices)
	}
	if layers < 1 || layers > protocol.MaxLayers {
		bad("%d layers: want 1 to %d", layers, protocol.MaxLayers)
	}
	if in.Replicas < 0 || in.Replicas > MaxReplicas {
		bad("%d replicas: want 1 to %d", in.Replicas, MaxReplicas)
	} else if n*layers*in.replicas() > maxRows {
		bad("%d devices with %d layers, %d times: that is too much", n, layers, in.replicas())
	}
	if !slices.Contains(Objectives, in.Objective) {
		bad("objective %q: want one of %v", in.Objective, Objectives)
	}
	if in.MaxDevices < 0 {
		bad("at most %d devices: want a positive number, or 0 for no limit", in.MaxDevices)
	}
	if errs != nil {
		return errors.Join(errs...)
	}
	bytes := func(what string, v int64) {
		if v < 0 || v > maxBytes {
			bad("%s: %d is not a number of bytes", what, v)
		}
	}
	for l, layer := range append(slices.Clone(in.Model.Layers), in.Model.Head) {
		bytes(fmt.Sprintf("layer %d: weights", l), layer.Bytes)
		if layer.Bytes == 0 && l < layers {
			bad("layer %d: no weights", l)
		}
		bytes(fmt.Sprintf("layer %d: FLOPs of a row", l), layer.FLOPs)
		if layer.KV < 0 || layer.KV > 1<<24 {
			bad("layer %d: %d bytes of KV cache a position: want 0 to %d", l, layer.KV, 1<<24)
		}
	}
	bytes("embedding", in.Model.Embedding)
	if in.Model.Hidden < 1 || in.Model.Hidden > 1<<24 {
		bad("%d bytes of hidden states a row: want 1 to %d", in.Model.Hidden, 1<<24)
	}
	number := func(what string, v, least, most int) {
		if v < least || v > most {
			bad("%s: %d: want %d to %d", what, v, least, most)
		}
	}
	number("prompt", in.Load.Prompt, 0, maxTokens)
	number("output", in.Load.Output, 1, maxTokens)
	number("context", in.Load.Context, 1, maxTokens)
	number("sessions", in.Load.Sessions, 1, 1<<12)
	number("streams", in.Load.Streams, 1, 1<<12)
	if in.Load.Context < in.Load.Prompt+in.Load.Output {
		bad("a context of %d has no room for a prompt of %d and an output of %d", in.Load.Context, in.Load.Prompt, in.Load.Output)
	}
	names := map[string]bool{}
	for i := range in.Devices {
		d := &in.Devices[i]
		if d.Name == "" || names[d.Name] {
			bad("device %d: the name %q is empty or used twice", i, d.Name)
		}
		names[d.Name] = true
		bytes(d.Name+": memory", d.Memory)
		if !(d.Decode >= 1) || math.IsInf(d.Decode, 0) || !(d.Prefill >= 1) || math.IsInf(d.Prefill, 0) {
			bad("%s: speeds %g bytes/s and %g FLOP/s: want positive numbers", d.Name, d.Decode, d.Prefill)
		}
		if d.Overhead < 0 || d.Overhead > time.Minute {
			bad("%s: overhead %s: want 0 to 1m", d.Name, d.Overhead)
		}
		if d.Pinned != nil && !d.Pinned.Valid(layers) {
			bad("%s: pinned to layers %s of 0-%d", d.Name, d.Pinned, layers-1)
		}
	}
	errs = append(errs, in.validateLinks()...)
	if in.Objective == Patented {
		p := in.Patent
		for _, w := range []float64{p.Complexity, p.Jitter, p.Transfer, p.Loss} {
			if !(w >= 0) || w > 1e9 {
				bad("patent weight %g: want 0 to 1e9", w)
			}
		}
		if !(p.Efficiency > 0) || p.Efficiency > 1 || !(p.Memory > 0) || p.Memory > 1 {
			bad("patent efficiency %g and share of memory %g: want more than 0, at most 1", p.Efficiency, p.Memory)
		}
		if in.replicas() > 1 {
			bad("the patent's objective has each layer on one device: want 1 replica")
		}
	}
	return errors.Join(errs...)
}

func (in *Instance) validateLinks() []error {
	var errs []error
	n := len(in.Devices)
	name := func(i int) string {
		if i == n {
			return "coordinator"
		}
		return in.Devices[i].Name
	}
	if len(in.Links) != n+1 {
		return []error{fmt.Errorf("links of %d machines: want %d, the coordinator's last", len(in.Links), n+1)}
	}
	for i, row := range in.Links {
		if len(row) != n+1 {
			return append(errs, fmt.Errorf("links from %s to %d machines: want %d", name(i), len(row), n+1))
		}
		for j, l := range row {
			if i == j {
				continue
			}
			if l.Latency < 0 || l.Latency > time.Minute || l.Jitter < 0 || l.Jitter > time.Minute ||
				!(l.Loss >= 0 && l.Loss <= 0.9) || !(l.Bandwidth >= 0) || math.IsInf(l.Bandwidth, 0) || l.Bandwidth > 0 && l.Bandwidth < 1 {
				errs = append(errs, fmt.Errorf("link from %s to %s: latency %s and jitter %s want 0 to 1m, loss %g 0 to 0.9, bandwidth %g 0 or at least 1 byte/s",
					name(i), name(j), l.Latency, l.Jitter, l.Loss, l.Bandwidth))
			}
		}
	}
	for _, f := range in.Forbidden {
		if f[0] < 0 || f[0] > n || f[1] < 0 || f[1] > n || f[0] == f[1] {
			errs = append(errs, fmt.Errorf("forbidden pair %v: want two of the machines 0 to %d", f, n))
		}
	}
	return errs
}
