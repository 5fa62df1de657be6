// SPDX-License-Identifier: MIT

package inventory

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/shardnode/shardnode/internal/modelfile"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// model reads the model: a GGUF file, the embedded one, or figures.
func (p *parser) model(n *yaml.Node) {
	m := &p.inv.Instance.Model
	var file string
	var demo bool
	count := 0
	var layer solver.Layer
	var each []solver.Layer
	figures := nodes{
		"gguf": p.text(&file), "demo": p.truth(&demo), "name": p.text(&p.inv.Model), "layers": p.count(&count, 1, protocol.MaxLayers),
		"layer": func(n *yaml.Node) {
			if n.Kind != yaml.SequenceNode {
				p.layer(n, &layer, "a layer", "bytes")
				return
			}
			p.items(n, "layer", func(n *yaml.Node) {
				if len(each) <= protocol.MaxLayers {
					each = append(each, solver.Layer{})
					p.layer(n, &each[len(each)-1], "a layer", "bytes")
				}
			})
		},
		"head":      func(n *yaml.Node) { p.layer(n, &m.Head, "the head", "bytes") },
		"embedding": p.size(&m.Embedding), "hidden": p.size(&m.Hidden),
	}
	if n.Kind == yaml.MappingNode && !has(n, "gguf") && !has(n, "demo") {
		p.fields(n, "the model", figures, "name", "layers", "layer", "hidden")
		if m.Layers = each; each == nil {
			m.Layers = slices.Repeat([]solver.Layer{layer}, count)
		} else if len(each) != count {
			p.fail(n, "the model: %d layers, and a list of %d", count, len(each))
			m.Layers = nil
		}
		return
	}
	p.fields(n, "the model", nodes{"gguf": figures["gguf"], "demo": figures["demo"]})
	if file != "" && demo || file == "" && !demo {
		p.fail(n, "the model: want gguf: FILE, or demo: true, or figures")
		return
	}
	if file != "" && !filepath.IsAbs(file) {
		file = filepath.Join(p.dir, file)
	}
	if err := p.inspect(file); err != nil {
		p.fail(n, "the model: %v", err)
	}
}

func has(n *yaml.Node, key string) bool {
	for k := 0; k+1 < len(n.Content); k += 2 {
		if n.Content[k].Value == key {
			return true
		}
	}
	return false
}

func (p *parser) layer(n *yaml.Node, to *solver.Layer, what string, required ...string) {
	flops := -1.0
	p.fields(n, what, nodes{
		"bytes": p.size(&to.Bytes), "kv": p.size(&to.KV), "flops": p.quantity(&flops, "1.7GFLOP", map[string]float64{"FLOP": 1}),
	}, required...)
	if flops >= 0 {
		to.FLOPs = int64(flops)
	} else {
		to.FLOPs = 4 * to.Bytes // four bits a weight, two operations each
	}
	if to.KV > 1<<24 {
		p.fail(n, "%s: kv is bytes for one position", what)
	}
}

// inspect takes a model's figures from its file; "" is the embedded one.
func (p *parser) inspect(file string) error {
	f, err := modelfile.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	cfg, err := layers.ParseConfig(f.File.Meta)
	if err != nil {
		return err
	}
	p.inv.Model = f.Name
	all := protocol.LayerRange{From: 0, To: cfg.NLayers}
	var tensors []tensor
	for _, name := range layers.RequiredTensors(f.File, cfg, all) {
		t, ok := f.File.Tensor(name)
		if !ok {
			return fmt.Errorf("tensor %q is missing", name)
		}
		tensors = append(tensors, tensor{name, int64(t.Size), int64(t.Elements())})
	}
	p.inv.Instance.Model, err = weigh(cfg, tensors)
	return err
}

// OfManifest returns a model's figures by its manifest, whose metadata is of a model that can be loaded.
func OfManifest(m *gguf.Manifest) (solver.Model, error) {
	cfg, err := layers.ParseConfig(m.Meta)
	if err != nil {
		return solver.Model{}, err
	}
	var tensors []tensor
	for i := range m.Tensors {
		t := &m.Tensors[i]
		f, ok := quant.Layout(t.Type)
		if !ok {
			return solver.Model{}, fmt.Errorf("tensor %q has type %s, which is not known", t.Name, t.Type)
		}
		elements := int64(1)
		for _, d := range t.Dims {
			elements *= int64(d) // the manifest's reader has seen to it that it does not overflow
		}
		tensors = append(tensors, tensor{t.Name, elements / int64(f.BlockElems) * int64(f.BlockBytes), elements})
	}
	return weigh(cfg, tensors)
}

type tensor struct {
	name            string
	bytes, elements int64
}

// weigh adds tensors up. What is no layer's and not the embedding is the head's.
func weigh(cfg *layers.Config, tensors []tensor) (solver.Model, error) {
	m := solver.Model{Layers: make([]solver.Layer, cfg.NLayers), Hidden: 4 * int64(cfg.Hidden)}
	for i := range m.Layers {
		m.Layers[i].KV = layers.PlanKV(cfg, protocol.LayerRange{From: i, To: i + 1}, protocol.F16, layers.PageRows) / layers.PageRows
	}
	own := false
	for _, t := range tensors {
		var layer int
		_, err := fmt.Sscanf(t.name, "blk.%d.", &layer)
		switch {
		case err == nil && layer >= 0 && layer < cfg.NLayers:
			m.Layers[layer].Bytes += t.bytes
			m.Layers[layer].FLOPs += 2 * t.elements
		case err == nil:
			return m, fmt.Errorf("tensor %q is of layer %d of 0-%d", t.name, layer, cfg.NLayers-1)
		case strings.HasPrefix(t.name, "token_embd"):
			m.Embedding = t.bytes
		default:
			m.Head.Bytes += t.bytes
			own = own || t.name == "output.weight"
		}
	}
	if !own { // the embedding is the head too
		m.Head.Bytes += m.Embedding
	}
	for i, l := range m.Layers {
		if l.Bytes <= 0 || l.Bytes > maxTensors {
			return m, fmt.Errorf("layer %d has %d bytes of tensors", i, l.Bytes)
		}
	}
	return m, nil
}

const (
	// maxTensors bounds a layer's bytes: far above any model's, and no sum of as many layers as there may be overflows.
	maxTensors = 1 << 48
)
