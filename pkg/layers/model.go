// SPDX-License-Identifier: MIT

package layers

import (
	"time"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Options of [Load].
type Options struct {
	F32      bool                    // the all-F32 mode: weights dequantised, KV cache f32
	Threads  int                     // compute threads; 0: 1
	KV       protocol.DType          // element type of the KV cache; 0: f16 (f32 in the all-F32 mode)
	Now      func() time.Time        // nil: time.Now
	Progress func(done, total int64) // bytes of weights; nil: silent
}

// Model is one range of a model's layers, ready to run.
type Model struct {
	// Constant after construction.
	cfg    Config
	layers protocol.LayerRange
	f32    bool
	kvType quant.Type
	now    func() time.Time
	scale  float32 // of attention scores: 1/√HeadDim
	rope   *kernel.Rope

	embedding *kernel.Matrix // [vocab][hidden]; first range only
	blocks    []block        // of layers.From, …
	norm      []float32      // [hidden]; last range only
	head      *kernel.Matrix // [vocab][hidden]; last range only, the embedding where tied
	bytes     int64          // of weights held

	pool    *kernel.Pool
	scratch scratch // of the step under way
}

// block is one transformer layer's weights.
type block struct {
	attnNorm []float32      // [hidden]
	q        *kernel.Matrix // [heads·headDim][hidden]
	k, v     *kernel.Matrix // [kvHeads·headDim][hidden]
	o        *kernel.Matrix // [hidden][heads·headDim]
	ffnNorm  []float32      // [hidden]
	gate, up *kernel.Matrix // [ffn][hidden]
	down     *kernel.Matrix // [hidden][ffn]
}

// Config returns the model's shape. The caller must not change it.
func (m *Model) Config() *Config { return &m.cfg }

// Range returns the layers held.
func (m *Model) Range() protocol.LayerRange { return m.layers }

// First reports whether the range begins with the model's first layer: it embeds.
func (m *Model) First() bool { return m.layers.From == 0 }

// Last reports whether the range ends with the model's last layer: it has norm and head.
func (m *Model) Last() bool { return m.layers.To == m.cfg.NLayers }

// WeightBytes returns the bytes of the weights held, as they are in the file (or as F32 in the all-F32 mode).
func (m *Model) WeightBytes() int64 { return m.bytes }

// Numerics returns the numerics ID of a session with that wire type (docs/numerics.md).
func (m *Model) Numerics(wire protocol.DType) string {
	contract, kv := "n1", "f16"
	if m.f32 {
		contract = "n1-f32"
	}
	if m.kvType == quant.F32 {
		kv = "f32"
	}
	return contract + "/kv-" + kv + "/wire-" + wire.String()
}

// Close ends the compute threads. The model must not be used any more.
func (m *Model) Close() { m.pool.Close() }
