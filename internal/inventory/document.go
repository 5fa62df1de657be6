// SPDX-License-Identifier: MIT

package inventory

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// What holds where a file says nothing.
const (
	usualOverhead  = 250 * time.Microsecond // of a hop, measured on a LAN
	usualLatency   = 250 * time.Microsecond
	usualBandwidth = 125e6 // bytes a second
)

type nodes = map[string]func(*yaml.Node)

// document reads the whole. Links come last: they name devices.
func (p *parser) document(root *yaml.Node) {
	in := &p.inv.Instance
	in.Objective, in.Patent = solver.Latency, solver.UsualPatent
	in.Load = solver.Load{Prompt: 256, Output: 256, Context: 2048, Sessions: 1, Streams: 1}
	var links, forbid, load *yaml.Node
	keep := func(to **yaml.Node) func(*yaml.Node) { return func(n *yaml.Node) { *to = n } }
	p.fields(root, "an inventory", nodes{
		"model": p.model, "devices": p.devices, "load": func(n *yaml.Node) { load = n; p.load(n) },
		"coordinator": func(n *yaml.Node) { p.fields(n, "the coordinator", nodes{"at": p.text(&p.home)}) },
		"objective":   func(n *yaml.Node) { in.Objective = solver.Objective(n.Value); p.oneOf(n) },
		"max_devices": p.count(&in.MaxDevices, 1, solver.MaxDevices), "replicas": p.count(&in.Replicas, 1, solver.MaxReplicas),
		"patent": p.patent, "links": keep(&links), "forbid": keep(&forbid),
	}, "model", "devices")
	if load != nil && in.Load.Context < in.Load.Prompt+in.Load.Output {
		p.fail(load, "a context of %d has no room for a prompt of %d and an output of %d", in.Load.Context, in.Load.Prompt, in.Load.Output)
	}
	p.ranges(root)
	p.linkAll()
	if links != nil {
		p.items(links, "links", p.link)
	}
	if forbid != nil {
		p.items(forbid, "forbid", p.forbid)
	}
}

func (p *parser) oneOf(n *yaml.Node) {
	for _, o := range solver.Objectives {
		if n.Value == string(o) {
			return
		}
	}
	p.fail(n, "objective %q: want one of %v", n.Value, solver.Objectives)
}

func (p *parser) load(n *yaml.Node) {
	l := &p.inv.Instance.Load
	p.fields(n, "load", nodes{
		"prompt": p.count(&l.Prompt, 0, 1<<24), "output": p.count(&l.Output, 1, 1<<24), "context": p.count(&l.Context, 1, 1<<24),
		"sessions": p.count(&l.Sessions, 1, 1<<12), "streams": p.count(&l.Streams, 1, 1<<12),
	})
}

func (p *parser) patent(n *yaml.Node) {
	w := &p.inv.Instance.Patent
	p.fields(n, "patent", nodes{
		"complexity": p.share(&w.Complexity, 1e9), "jitter": p.share(&w.Jitter, 1e9), "transfer": p.share(&w.Transfer, 1e9),
		"loss": p.share(&w.Loss, 1e9), "efficiency": p.share(&w.Efficiency, 1), "memory": p.share(&w.Memory, 1),
	})
	if w.Efficiency == 0 || w.Memory == 0 {
		p.fail(n, "patent: efficiency and memory must be more than 0")
	}
}

func (p *parser) devices(n *yaml.Node) {
	in := &p.inv.Instance
	names := map[string]bool{"coordinator": true, "*": true}
	p.items(n, "devices", func(n *yaml.Node) {
		d := solver.Device{Overhead: usualOverhead}
		var today *protocol.LayerRange
		var place string
		p.fields(n, "a device", nodes{
			"name": p.text(&d.Name), "memory": p.size(&d.Memory), "decode": p.byteRate(&d.Decode), "prefill": p.flops(&d.Prefill),
			"overhead": p.span(&d.Overhead), "pin": p.layers(&d.Pinned), "today": p.layers(&today), "at": p.text(&place),
		}, "name", "memory", "decode", "prefill")
		if names[d.Name] && d.Name != "" {
			p.fail(n, "the name %q is taken", d.Name)
		}
		names[d.Name] = true
		in.Devices = append(in.Devices, d)
		p.places = append(p.places, place)
		p.inv.Today = append(p.inv.Today, today)
	})
	if len(in.Devices) == 0 || len(in.Devices) > solver.MaxDevices {
		p.fail(n, "%d devices: want 1 to %d", len(in.Devices), solver.MaxDevices)
		in.Devices = nil
	}
}

// ranges checks layer ranges against the model, which may come behind the devices.
func (p *parser) ranges(root *yaml.Node) {
	layers := len(p.inv.Instance.Model.Layers)
	if layers == 0 || p.errs != nil {
		return
	}
	for i, d := range p.inv.Instance.Devices {
		for _, r := range []*protocol.LayerRange{d.Pinned, p.inv.Today[i]} {
			if r != nil && !r.Valid(layers) {
				p.fail(at(root, "devices", i), "%s: layers %s of 0-%d", d.Name, r, layers-1)
			}
		}
	}
}

// at returns the node of an item of a list under a key.
func at(root *yaml.Node, key string, item int) *yaml.Node {
	for k := 0; k+1 < len(root.Content); k += 2 {
		if root.Content[k].Value == key && item < len(root.Content[k+1].Content) {
			return root.Content[k+1].Content[item]
		}
	}
	return root
}
