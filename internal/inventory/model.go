// SPDX-License-Identifier: MIT

package inventory

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/shardnode/shardnode/internal/modelfile"
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
	figures := nodes{
		"gguf": p.text(&file), "demo": p.truth(&demo), "name": p.text(&p.inv.Model), "layers": p.count(&count, 1, protocol.MaxLayers),
		"layer":     func(n *yaml.Node) { p.layer(n, &layer, "a layer", "bytes") },
		"head":      func(n *yaml.Node) { p.layer(n, &m.Head, "the head", "bytes") },
		"embedding": p.size(&m.Embedding), "hidden": p.size(&m.Hidden),
	}
	if n.Kind == yaml.MappingNode && !has(n, "gguf") && !has(n, "demo") {
		p.fields(n, "the model", figures, "name", "layers", "layer", "hidden")
		m.Layers = slices.Repeat([]solver.Layer{layer}, count)
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
	m := &p.inv.Instance.Model
	m.Layers = make([]solver.Layer, cfg.NLayers)
	m.Hidden = 4 * int64(cfg.Hidden)
	for i := range m.Layers {
		m.Layers[i].KV = layers.PlanKV(cfg, protocol.LayerRange{From: i, To: i + 1}, protocol.F16, 1)
	}
	all := protocol.LayerRange{From: 0, To: cfg.NLayers}
	for _, name := range layers.RequiredTensors(f.File, cfg, all) {
		t, ok := f.File.Tensor(name)
		if !ok {
			return fmt.Errorf("tensor %q is missing", name)
		}
		var layer int
		_, err := fmt.Sscanf(name, "blk.%d.", &layer)
		switch {
		case err == nil && layer >= 0 && layer < cfg.NLayers:
			m.Layers[layer].Bytes += int64(t.Size)
			m.Layers[layer].FLOPs += 2 * int64(t.Elements())
		case strings.HasPrefix(name, "token_embd"):
			m.Embedding = int64(t.Size)
		default:
			m.Head.Bytes += int64(t.Size)
		}
	}
	if _, own := f.File.Tensor("output.weight"); !own { // the embedding is the head too
		m.Head.Bytes += m.Embedding
	}
	return nil
}
