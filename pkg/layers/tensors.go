// SPDX-License-Identifier: MIT

package layers

import (
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// llamaFactors divides the rotary frequencies, one factor a pair: how Llama 3.1 stretches its context. A file may lack it.
const llamaFactors = "rope_freqs.weight"

// weight and bias name tensors of one layer.
func weight(layer int, part string) string { return fmt.Sprintf("blk.%d.%s.weight", layer, part) }
func bias(layer int, part string) string   { return fmt.Sprintf("blk.%d.%s.bias", layer, part) }

// headTensor is the last matrix: the embedding where the file has none of its own.
func headTensor(f *gguf.File) string {
	if _, ok := f.Tensor("output.weight"); ok {
		return "output.weight"
	}
	return "token_embd.weight"
}

// RequiredTensors lists the tensors that a range holds, each once.
func RequiredTensors(f *gguf.File, cfg *Config, r protocol.LayerRange) []string {
	l := &loader{file: f, purpose: toList}
	(&Model{cfg: *cfg, layers: r}).load(l)
	return l.listed
}

// PlanBytes returns the bytes of the file that loading a range makes ready. A missing tensor, or one that the architecture has no place for,
// is an error that names it.
func PlanBytes(f *gguf.File, cfg *Config, r protocol.LayerRange) (int64, error) {
	if !r.Valid(cfg.NLayers) {
		return 0, fmt.Errorf("layers %s: the model has %d layers, 0-%d", r, cfg.NLayers, cfg.NLayers-1)
	}
	if err := checkStray(f, cfg); err != nil {
		return 0, fmt.Errorf("load layers %s: %w", r, err)
	}
	var sum int64
	for _, name := range RequiredTensors(f, cfg, r) {
		t, ok := f.Tensor(name)
		if !ok {
			return 0, fmt.Errorf("load layers %s: %w", r, missing(name))
		}
		sum += int64(t.Size)
	}
	return sum, nil
}

// IdleBytes returns how many bytes of weights a decode step of one row leaves unread: those of experts that it does not go through.
func IdleBytes(f *gguf.File, cfg *Config) int64 {
	var idle int64
	for i := range f.Tensors {
		if t := &f.Tensors[i]; cfg.Experts > 0 && strings.HasSuffix(t.Name, "_exps.weight") {
			idle += int64(t.Size) / int64(cfg.Experts) * int64(cfg.Experts-cfg.ExpertsUsed)
		}
	}
	return idle
}

func missing(name string) error {
	return fmt.Errorf("tensor %q is missing: the file holds another model, or other layers of it", name)
}

// checkStray refuses a file with tensors that the forward pass would leave out, such as biases: its results would be wrong without a sign.
func checkStray(f *gguf.File, cfg *Config) error {
	known := map[string]bool{"token_embd.weight": true, cfg.RopeUnused: true}
	for _, name := range RequiredTensors(f, cfg, protocol.LayerRange{From: 0, To: cfg.NLayers}) {
		known[name] = true
	}
	for i := range f.Tensors {
		if name := f.Tensors[i].Name; !known[name] {
			return fmt.Errorf("tensor %q has no place in a model of architecture %s as this program knows it: the variant is not supported", name, cfg.Arch)
		}
	}
	return nil
}
