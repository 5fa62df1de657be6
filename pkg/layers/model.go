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
	F32      bool                    // the all-F32 mode: weights dequantised to float32, which takes memory, and an f32 KV cache
	Threads  int                     // compute threads; 0: 1
	KV       protocol.DType          // element type of the KV cache; 0: f16 (f32 in the all-F32 mode)
	Now      func() time.Time        // clock of Output.Processing; nil: time.Now
	Progress func(done, total int64) // bytes of the file made ready; nil: silent
	Panels   *Panels                 // packed weights of an earlier run, read in place of packing if they are what it would make; nil: none
}

// Model is one range of a model's layers, ready to run.
type Model struct {
	// Constant after construction.
	cfg    Config
	layers protocol.LayerRange
	f32    bool
	kvType quant.Type
	now    func() time.Time
	rope   [ropes]*kernel.Rope

	embedding *kernel.Matrix // [vocab][hidden]; first range only
	blocks    []*block       // [layer - layers.From]
	norm      []float32      // [hidden]; last range only
	head      *kernel.Matrix // [vocab][hidden]; last range only, the embedding where tied
	bytes     int64          // of weights held
	packed    []panelMatrix  // matrices in panels, in the order of loading
	panelsErr error          // why the panels given were not used

	pool    *kernel.Pool
	memory  kernel.Memory // of packed weights
	scratch scratch       // of the step under way
}

// Config returns the model's shape. The caller must not change it.
func (m *Model) Config() *Config { return &m.cfg }

// Range returns the layers held.
func (m *Model) Range() protocol.LayerRange { return m.layers }

// First reports whether the range begins with the model's first layer: it embeds.
func (m *Model) First() bool { return m.layers.From == 0 }

// Last reports whether the range ends with the model's last layer: it has norm and head.
func (m *Model) Last() bool { return m.layers.To == m.cfg.NLayers }

// WeightBytes returns the memory of the weights held, those of the embedding included that stay in the mapped file: what [PlanWeights] says.
func (m *Model) WeightBytes() int64 { return m.bytes }

// Numerics returns the numerics ID of a session with that wire type (docs/numerics.md).
func (m *Model) Numerics(wire protocol.DType) string {
	contract, kv := "n1", protocol.F16
	if m.f32 {
		contract = "n1-f32"
	}
	if m.kvType == quant.F32 {
		kv = protocol.F32
	}
	return numerics(contract, kv, wire)
}

// Numerics returns the numerics ID that a model will have which is loaded with a KV cache of type kv.
func Numerics(kv, wire protocol.DType) string { return numerics("n1", kv, wire) }

func numerics(contract string, kv, wire protocol.DType) string {
	return contract + "/kv-" + kv.String() + "/wire-" + wire.String()
}

// Close ends the compute threads and gives the weights' memory back. The model must not be used any more.
func (m *Model) Close() {
	m.pool.Close()
	closeMemory(&m.memory)
}
