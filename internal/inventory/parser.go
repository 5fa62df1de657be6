// SPDX-License-Identifier: MIT

package inventory

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// parser walks the nodes of a document and collects problems.
type parser struct {
	name, dir string
	inv       Inventory
	places    []string // per device
	home      string   // the coordinator's place
	errs      []error
}

// maxErrors is how many problems are worth reading at once.
const maxErrors = 50

// fail notes a problem at a node.
func (p *parser) fail(n *yaml.Node, format string, a ...any) {
	if len(p.errs) < maxErrors {
		p.errs = append(p.errs, fmt.Errorf("%s:%d: %s", p.name, n.Line, fmt.Sprintf(format, a...)))
	}
}

// fields calls the function of each key of a mapping. Keys that are not there are a problem, and so are missing ones that are required.
func (p *parser) fields(n *yaml.Node, what string, known map[string]func(*yaml.Node), required ...string) {
	if n.Kind != yaml.MappingNode {
		p.fail(n, "%s: want keys and values", what)
		return
	}
	seen := map[string]bool{}
	for k := 0; k+1 < len(n.Content); k += 2 {
		key, value := n.Content[k], n.Content[k+1]
		f, ok := known[key.Value]
		switch {
		case !ok:
			p.fail(key, "%s has no %q; it has %s", what, key.Value, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case seen[key.Value]:
			p.fail(key, "%s: %s is there twice", what, key.Value)
		case value.Kind == yaml.AliasNode:
			p.fail(value, "%s: aliases are not read: write the value out", key.Value)
		default:
			f(value)
		}
		seen[key.Value] = true
	}
	for _, key := range required {
		if !seen[key] {
			p.fail(n, "%s: %s is missing", what, key)
		}
	}
}

// items calls f with each item of a list.
func (p *parser) items(n *yaml.Node, what string, f func(*yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		p.fail(n, "%s: want a list", what)
		return
	}
	for _, item := range n.Content {
		f(item)
	}
}

func (p *parser) text(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Value == "" || len(n.Value) > 256 {
			p.fail(n, "want a text of 1 to 256 bytes")
			return
		}
		*to = n.Value
	}
}

func (p *parser) truth(to *bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Decode(to) != nil {
			p.fail(n, "%q: want true or false", n.Value)
		}
	}
}

// count reads a number from least to most.
func (p *parser) count(to *int, least, most int) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := strconv.Atoi(n.Value)
		if err != nil || v < least || v > most {
			p.fail(n, "%q: want a number from %d to %d", n.Value, least, most)
			return
		}
		*to = v
	}
}

// size reads bytes.
func (p *parser) size(to *int64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		var b cmdline.ByteSize
		if err := b.Set(n.Value); err != nil {
			p.fail(n, "%v", err)
			return
		}
		*to = int64(b)
	}
}

// span reads a time.
func (p *parser) span(to *time.Duration) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d, err := time.ParseDuration(n.Value)
		if err != nil || d < 0 || d > time.Minute {
			p.fail(n, "%q: want a time of at most a minute, such as 20ms", n.Value)
			return
		}
		*to = d
	}
}

// layers reads a layer range.
func (p *parser) layers(to **protocol.LayerRange) func(*yaml.Node) {
	return func(n *yaml.Node) {
		r, err := protocol.ParseLayerRange(n.Value)
		if err != nil {
			p.fail(n, "%v", err)
			return
		}
		*to = &r
	}
}

var siPrefixes = map[byte]float64{'k': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12, 'P': 1e15}

// quantity reads a number with one of the units, SI prefix allowed; the value counts the unit's worth.
func (p *parser) quantity(to *float64, example string, units map[string]float64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		for unit, worth := range units {
			number, ok := strings.CutSuffix(n.Value, unit)
			if !ok {
				continue
			}
			number = strings.TrimSpace(number)
			if len(number) > 0 {
				if f, ok := siPrefixes[number[len(number)-1]]; ok {
					number, worth = strings.TrimSpace(number[:len(number)-1]), worth*f
				}
			}
			v, err := strconv.ParseFloat(number, 64)
			if err == nil && v > 0 && !math.IsInf(v*worth, 0) && v*worth >= 1 {
				*to = v * worth
				return
			}
		}
		p.fail(n, "%q: write for example %s", n.Value, example)
	}
}

func (p *parser) byteRate(to *float64) func(*yaml.Node) {
	return p.quantity(to, "40GB/s or 100Mbit/s", map[string]float64{"B/s": 1, "bit/s": 0.125})
}

func (p *parser) flops(to *float64) func(*yaml.Node) {
	return p.quantity(to, "1.5TFLOP/s", map[string]float64{"FLOP/s": 1})
}

// share reads a number such as 0.01 or 1%, from 0 to most.
func (p *parser) share(to *float64, most float64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		number, percent := strings.CutSuffix(n.Value, "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if percent {
			v /= 100
		}
		if err != nil || !(v >= 0 && v <= most) {
			p.fail(n, "%q: want a number from 0 to %g, or a percentage", n.Value, most)
			return
		}
		*to = v
	}
}
