// SPDX-License-Identifier: MIT

package engine

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// input is a step or truncate that waits for the step loop. It owns its memory: the reader of the stream reuses its
// buffers as soon as Submit returns.
type input struct {
	truncate bool
	step     uint32
	position uint32
	tokens   []protocol.TokenID // [rows]
	hidden   []float32          // [rows][hidden]; empty on the first shard
	logits   []uint32           // rows whose logits are wanted
	sample   bool
	hops     []protocol.HopTiming // of the hops passed
	received time.Time            // when Submit was called
	decode   time.Duration        // bytes to float32
	cost     int64                // bytes charged
}

func (in *input) setStep(f *protocol.Step) {
	in.set(f.Step, f.Position, f.Tokens, f.Logits, f.Sample, nil)
	in.hidden = in.hidden[:0]
}

func (in *input) setResult(f *protocol.IntermediateResult) {
	in.set(f.Step, f.Position, f.Tokens, f.Logits, f.Sample, f.Hops)
	n := len(f.Hidden) / f.DType.Size()
	in.hidden = slices.Grow(in.hidden[:0], n)[:n]
	_ = protocol.HiddenInto(in.hidden, f.Hidden, f.DType) // its size and type have been checked
}

func (in *input) setTruncate(f *protocol.Truncate) {
	in.set(f.Step, f.Position, nil, nil, false, nil)
	in.truncate = true
}

func (in *input) set(step, position uint32, tokens []protocol.TokenID, logits []uint32, sample bool, hops []protocol.HopTiming) {
	in.truncate, in.step, in.position, in.sample = false, step, position, sample
	in.tokens = append(in.tokens[:0], tokens...)
	in.logits = append(in.logits[:0], logits...)
	in.hops = append(in.hops[:0], hops...)
}
