// SPDX-License-Identifier: MIT

package layers

import (
	"fmt"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Everything below is known before a weight is read, from the file's directory and the configuration.

// PlanWeights returns the memory that the weights of a range take once loaded, [Model.WeightBytes]: as the path in use wants them, and the
// whole embedding, although of its pages those of the tokens met come into memory only. Where the embedding is the head too, a
// node that has both ends may hold it twice.
func PlanWeights(f *gguf.File, cfg *Config, r protocol.LayerRange, opt Options) (int64, error) {
	l, err := planLoad(f, cfg, r, opt)
	if err != nil {
		return 0, err
	}
	return l.held, nil
}

// planLoad goes through loading without reading weights.
func planLoad(f *gguf.File, cfg *Config, r protocol.LayerRange, opt Options) (*loader, error) {
	total, err := PlanBytes(f, cfg, r)
	if err != nil {
		return nil, err
	}
	l := &loader{file: f, f32: opt.F32, purpose: toPlan, total: total}
	m := &Model{cfg: *cfg, layers: r}
	if m.load(l); l.err != nil {
		return nil, fmt.Errorf("load layers %s: %w", r, l.err)
	}
	return l, nil
}

// PlanKV returns the memory of a KV cache of so many positions, at most the model's context: what [Model.KVBytes] returns.
func PlanKV(cfg *Config, r protocol.LayerRange, kv protocol.DType, positions int) int64 {
	t := quant.F16
	if kv == protocol.F32 {
		t = quant.F32
	}
	return kvBytes(cfg, r, t, positions)
}

// PlanStep returns the memory of steps of up to so many rows on caches of up to so many positions: scratch, and the output that the caller
// keeps for use again. Of logits it counts what fits a frame.
func PlanStep(cfg *Config, r protocol.LayerRange, threads, rows, positions int) int64 {
	n, h := int64(rows), int64(cfg.Hidden)
	queries, keys, ffn := int64(cfg.Heads*cfg.HeadDim), int64(cfg.KVHeads*cfg.HeadDim), int64(cfg.FFN)
	turns := int64(1)
	if cfg.LocalRopeBase != 0 {
		turns = 2
	}
	floats := n * (4*h + queries + 2*keys + 3*ffn + turns*int64(cfg.RopeDim)) // x, normed, out; q; k, v; gate, up; cos, sin
	scores := kernel.ScoresLen(min(rows, attentionRows), cfg.Heads/cfg.KVHeads, scorePositions(positions, cfg.Context))
	floats += int64(max(1, threads)) * int64(scores)
	bytes := 4*floats + kernel.ActsBytes(2*rows, actColumns(cfg)) + mixtureBytes(cfg, rows)
	if r.To == cfg.NLayers {
		return bytes + min(4*n*int64(cfg.Vocab), protocol.MaxTensor) + 4*int64(cfg.Vocab)
	}
	return bytes + 4*n*h
}
