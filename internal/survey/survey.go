// SPDX-License-Identifier: MIT

// Package survey measures a swarm for a plan: the links between its nodes, what each has room for, and how fast it computes. It believes
// of what nodes say what cannot be measured from outside, and what measurements agree with. The coordinator's commands call it. It runs
// in one goroutine.
package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/inventory"
	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Survey is a swarm as measured.
type Survey struct {
	Inventory inventory.Inventory // devices are named by peer IDs
	Model     protocol.ModelID
	Nodes     []*discovery.Node // of the inventory's devices, in their order
	Notes     []string          // what was left out, and which claims do not hold
}

// What holds where nobody has said anything.
const (
	overhead  = 250 * time.Microsecond // of a hop, measured on a LAN
	bandwidth = 125e6                  // bytes a second
	// claimFactor is how far a node's word may be from what is measured before the user hears of it.
	claimFactor = 1.5
	maxLoss     = 0.9 // that a plan knows
)

// Take measures the nodes of a model, by name or ID prefix, "": the only one, among those of view.
func Take(ctx context.Context, c *client.Client, view *client.View, model string) (*Survey, error) {
	m, err := choose(view.Models, model)
	if err != nil {
		return nil, err
	}
	s := &Survey{Model: m.ID}
	for _, n := range view.Nodes {
		st := n.Status
		switch {
		case st.Model != m.ID || int(st.NLayers) != m.NLayers:
		case st.Draining, st.Loading:
			s.note("%s is left out: it is leaving or loading", st.Peer)
		case len(s.Nodes) == protocol.MaxLinks:
			s.note("%s is left out: a survey has at most %d nodes", st.Peer, protocol.MaxLinks)
		default:
			s.Nodes = append(s.Nodes, n)
		}
	}
	manifest, err := c.Manifest(ctx, m.ID, s.Nodes)
	if err != nil {
		return nil, err
	}
	in := &s.Inventory.Instance
	if in.Model, err = inventory.OfManifest(manifest); err != nil {
		return nil, fmt.Errorf("model %s: %w", m.Name, err)
	}
	cfg, err := layers.ParseConfig(manifest.Meta)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", m.Name, err)
	}
	if cfg.NLayers != m.NLayers {
		return nil, fmt.Errorf("the nodes speak of %d layers, the model %s has %d", m.NLayers, m.Name, cfg.NLayers)
	}
	s.Inventory.Model = m.Name
	in.Objective, in.Patent = solver.Latency, solver.UsualPatent
	in.Load = load(cfg.Context)
	links, err := c.Links(ctx, s.Nodes)
	if err != nil {
		return nil, err
	}
	s.Nodes = slices.DeleteFunc(s.Nodes, func(n *discovery.Node) bool {
		err := links.Failures[n.Status.Peer]
		if err != nil {
			s.note("%s is left out: %v", n.Status.Peer, err)
		}
		return err != nil
	})
	if len(s.Nodes) == 0 {
		return nil, errors.New("no node could be measured:\n" + strings.Join(s.Notes, "\n"))
	}
	s.links(links)
	for _, n := range s.Nodes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := n.Status.Layers
		in.Devices = append(in.Devices, s.device(ctx, c, n, cfg, links))
		s.Inventory.Today = append(s.Inventory.Today, &r)
	}
	return s, nil
}

func (s *Survey) note(format string, a ...any) { s.Notes = append(s.Notes, fmt.Sprintf(format, a...)) }

// choose finds the model that is meant.
func choose(models []discovery.Model, name string) (*discovery.Model, error) {
	var found []*discovery.Model
	var names []string
	for i := range models {
		m := &models[i]
		names = append(names, fmt.Sprintf("%s (%s)", m.Name, m.ID.Short()))
		if name == "" || m.Name == name || strings.HasPrefix(m.ID.String(), strings.ToLower(name)) {
			found = append(found, m)
		}
	}
	switch {
	case len(models) == 0:
		return nil, errors.New("no shard nodes found; start one with: shardnode, or name one with --bootstrap")
	case len(found) == 0:
		return nil, fmt.Errorf("nobody serves a model %q, but %s", name, strings.Join(names, ", "))
	case len(found) > 1:
		return nil, fmt.Errorf("the swarm serves %s; choose one with --model", strings.Join(names, ", "))
	}
	return found[0], nil
}

// load is what a plan is made for if nothing else is said, within the model's context.
func load(context int) solver.Load {
	context = max(2, min(context, 2048))
	half := min(256, context/2)
	return solver.Load{Prompt: half, Output: half, Context: context, Sessions: 1, Streams: 1}
}

// links enters the links. Of a round trip both ends tell; the longer counts, so that a node cannot make itself nearer than it is. A pair
// of which nobody knows cannot reach each other.
func (s *Survey) links(m *client.LinkMap) {
	in := &s.Inventory.Instance
	names := make([]string, 0, len(s.Nodes)+1)
	for _, n := range s.Nodes {
		names = append(names, n.Status.Peer)
	}
	names = append(names, "")
	in.Links = make([][]solver.Link, len(names))
	for i, from := range names {
		in.Links[i] = make([]solver.Link, len(names))
		for j, to := range names {
			if i == j {
				continue
			}
			there, ok := m.Get(from, to)
			back, known := m.Get(to, from)
			if !ok {
				there = back
			}
			rtt := max(there.RTT, back.RTT)
			if from == "" { // this coordinator's own measurement needs no second opinion
				rtt = there.RTT
			} else if to == "" && known {
				rtt = back.RTT
			}
			in.Links[i][j] = solver.Link{Latency: min(rtt/2, time.Minute), Jitter: there.Jitter, Loss: min(there.Loss, maxLoss), Bandwidth: max(there.Bandwidth, 1), None: !ok && !known}
			if there.Bandwidth == 0 {
				in.Links[i][j].Bandwidth = bandwidth
			}
		}
	}
}

// device measures what a node computes.
func (s *Survey) device(ctx context.Context, c *client.Client, n *discovery.Node, cfg *layers.Config, links *client.LinkMap) solver.Device {
	in, st := &s.Inventory.Instance, n.Status
	d := solver.Device{Name: st.Peer, Memory: int64(st.Memory), Overhead: overhead}
	if d.Memory == 0 {
		d.Memory = in.Need(st.Layers)
		s.note("%s does not say how much memory it has: taken to be full", st.Peer)
	}
	var bytes, flops int64
	for l := st.Layers.From; l < st.Layers.To; l++ {
		bytes += in.Model.Layers[l].Bytes
		flops += in.Model.Layers[l].FLOPs
	}
	if st.Layers.To == len(in.Model.Layers) {
		bytes += in.Model.Head.Bytes
	}
	there, _ := links.Get("", st.Peer)
	back, _ := links.Get(st.Peer, "")
	way := func(sent int) time.Duration {
		slowest := bandwidth
		for _, l := range []client.Link{there, back} {
			if l.Bandwidth > 0 {
				slowest = min(slowest, l.Bandwidth)
			}
		}
		return there.RTT + time.Duration(float64(sent)/slowest*float64(time.Second))
	}
	speed, err := c.Probe(ctx, n, layers.Numerics(protocol.F16, protocol.F32), cfg.Hidden, way)
	if err != nil && slices.Contains(st.Numerics, layers.Numerics(protocol.F32, protocol.F32)) {
		speed, err = c.Probe(ctx, n, layers.Numerics(protocol.F32, protocol.F32), cfg.Hidden, way)
	}
	if err == nil && speed.Step > 0 && speed.Chunk > 0 {
		d.Decode = max(1, float64(bytes)/speed.Step.Seconds())
		d.Prefill = max(1, float64(flops)*float64(speed.Rows)/speed.Chunk.Seconds())
		if speed.Seen {
			s.note("%s tells of shorter steps than can be seen from here: what is seen counts", st.Peer)
		}
		s.compare(st.Peer, "decode", "GB/s", float64(st.Decode), d.Decode)
		s.compare(st.Peer, "prefill", "GFLOP/s", float64(st.Prefill), d.Prefill)
		return d
	}
	s.note("%s was not measured, its own word counts: %v", st.Peer, err)
	d.Decode, d.Prefill = float64(max(st.Decode, 1)), float64(max(st.Prefill, 1))
	if st.StepNanos > 0 { // its steps count more than what it says of its speed
		d.Decode = min(d.Decode, max(1, float64(bytes)/(float64(st.StepNanos)/1e9)))
	}
	return d
}

// compare tells of a claim that is far from the measurement.
func (s *Survey) compare(peer, what, unit string, claim, measured float64) {
	if claim > measured*claimFactor {
		s.note("%s says %s of %.3g %s, measured %.3g: the measurement counts", peer, what, claim/1e9, unit, measured/1e9)
	}
}
