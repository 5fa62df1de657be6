// SPDX-License-Identifier: MIT

package layers

import (
	"fmt"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// ropeFactors divides the rotary frequencies, one factor a pair: how Llama 3.1 stretches its context. A file may lack it.
const ropeFactors = "rope_freqs.weight"

// blockTensors are the tensors of one layer.
var blockTensors = []string{"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"}

func blockTensor(layer int, part string) string { return fmt.Sprintf("blk.%d.%s.weight", layer, part) }

// headTensor is the last matrix: the embedding where the file has none of its own.
func headTensor(f *gguf.File) string {
	if _, ok := f.Tensor("output.weight"); ok {
		return "output.weight"
	}
	return "token_embd.weight"
}

// RequiredTensors lists the tensors that a range holds, each once.
func RequiredTensors(f *gguf.File, cfg *Config, r protocol.LayerRange) []string {
	var names []string
	first, last := r.From == 0, r.To == cfg.NLayers
	if first {
		names = append(names, "token_embd.weight")
	}
	for i := r.From; i < r.To; i++ {
		for _, part := range blockTensors {
			names = append(names, blockTensor(i, part))
		}
	}
	if last {
		names = append(names, "output_norm.weight")
		if head := headTensor(f); !first || head != "token_embd.weight" {
			names = append(names, head)
		}
	}
	if _, ok := f.Tensor(ropeFactors); ok {
		names = append(names, ropeFactors)
	}
	return names
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

func missing(name string) error {
	return fmt.Errorf("tensor %q is missing: the file holds another model, or other layers of it", name)
}

// checkStray refuses a file with tensors that the forward pass would leave out, such as biases: its results would be wrong without a sign.
func checkStray(f *gguf.File, cfg *Config) error {
	known := map[string]bool{"token_embd.weight": true}
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
