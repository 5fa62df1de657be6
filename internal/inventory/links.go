// SPDX-License-Identifier: MIT

package inventory

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/shardnode/shardnode/pkg/placement/solver"
)

// linkAll gives every pair the usual link.
func (p *parser) linkAll() {
	in := &p.inv.Instance
	n := len(in.Devices) + 1
	in.Links = make([][]solver.Link, n)
	for i := range in.Links {
		in.Links[i] = slices.Repeat([]solver.Link{{Latency: usualLatency, Bandwidth: usualBandwidth}}, n)
	}
}

// link reads one entry: later ones overrule earlier ones, value by value.
func (p *parser) link(n *yaml.Node) {
	var from, to string
	var between *yaml.Node
	v := solver.Link{Latency: -1, Jitter: -1, Loss: -1, Bandwidth: -1}
	rtt := time.Duration(-1)
	var none, stated bool
	p.fields(n, "a link", nodes{
		"from": p.text(&from), "to": p.text(&to), "between": func(n *yaml.Node) { between = n },
		"latency": p.span(&v.Latency), "rtt": p.span(&rtt), "jitter": p.span(&v.Jitter), "loss": p.share(&v.Loss, 0.9),
		"bandwidth": p.byteRate(&v.Bandwidth), "none": func(n *yaml.Node) { stated = true; p.truth(&none)(n) },
	})
	if between != nil {
		names := p.pair(between, "between")
		from, to = names[0], names[1]
	}
	if from == "" || to == "" {
		p.fail(n, "a link is between: [A, B], both ways, or from: A and to: B; A and B are devices, places, coordinator or *")
		return
	}
	if rtt >= 0 {
		v.Latency = rtt / 2
	}
	set := func(i, j int) {
		if i == j {
			return
		}
		l := &p.inv.Instance.Links[i][j]
		if v.Latency >= 0 {
			l.Latency = v.Latency
		}
		if v.Jitter >= 0 {
			l.Jitter = v.Jitter
		}
		if v.Loss >= 0 {
			l.Loss = v.Loss
		}
		if v.Bandwidth >= 0 {
			l.Bandwidth = v.Bandwidth
		}
		if stated {
			l.None = none
		}
	}
	for _, i := range p.machines(n, from) {
		for _, j := range p.machines(n, to) {
			set(i, j)
			if between != nil {
				set(j, i)
			}
		}
	}
}

// pair reads a list of two names.
func (p *parser) pair(n *yaml.Node, what string) [2]string {
	if n.Kind != yaml.SequenceNode || len(n.Content) != 2 || n.Content[0].Value == "" || n.Content[1].Value == "" {
		p.fail(n, "%s: want two names: [A, B]", what)
		return [2]string{}
	}
	return [2]string{n.Content[0].Value, n.Content[1].Value}
}

// machines returns what a name stands for: a device, all of a place, the coordinator, or everybody.
func (p *parser) machines(n *yaml.Node, name string) []int {
	var out []int
	devices := p.inv.Instance.Devices
	for i, d := range devices {
		if name == "*" || d.Name == name || p.places[i] == name {
			out = append(out, i)
		}
	}
	if name == "*" || name == "coordinator" || p.home == name {
		out = append(out, len(devices))
	}
	if out == nil && len(devices) > 0 {
		p.fail(n, "there is no device and no place %q", name)
	}
	return out
}

// forbid reads a pair that must not be neighbours.
func (p *parser) forbid(n *yaml.Node) {
	names := p.pair(n, "forbid")
	if names[0] == "" {
		return
	}
	for _, i := range p.machines(n, names[0]) {
		for _, j := range p.machines(n, names[1]) {
			if i != j {
				p.inv.Instance.Forbidden = append(p.inv.Instance.Forbidden, [2]int{i, j})
			}
		}
	}
}
