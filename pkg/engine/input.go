// SPDX-License-Identifier: MIT

package engine

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// inputKind says what an input asks for.
type inputKind uint8

const (
	inputRows inputKind = iota
	inputTruncate
	inputResume
)

// input is a step, truncate or resume that waits for the step loop. It owns its memory: the reader of the stream reuses
// its buffers as soon as Submit returns.
type input struct {
	kind     inputKind
	step     uint32
	keep     uint32             // of a truncate or resume: rows kept here
	counts   []uint32           // of a resume: rows kept at each hop
	position uint32             // of the first row; of a truncate, of the first row forgotten
	pass     bool               // the rows were computed before
	silent   bool               // the next hop has the rows: their hidden states are not sent
	tokens   []protocol.TokenID // [rows]
	hidden   []float32          // [rows][hidden]; empty on the first shard, and of rows that were computed before
	logits   []uint32           // rows whose logits are wanted
	sample   bool
	hops     []protocol.HopTiming // of the hops passed
	received time.Time            // when Submit was called
	decode   time.Duration        // bytes to float32
	cost     int64                // bytes charged
}

// set takes over f, which o has accepted, but for hidden states: see setHidden.
func (in *input) set(f protocol.Frame, o *order) {
	*in = input{
		counts: in.counts[:0], tokens: in.tokens[:0], hidden: in.hidden[:0], logits: in.logits[:0], hops: in.hops[:0],
	}
	switch f := f.(type) {
	case *protocol.Step:
		in.setRows(o, f.Step, f.Position, f.Tokens, f.Logits, f.Sample)
	case *protocol.IntermediateResult:
		in.setRows(o, f.Step, f.Position, f.Tokens, f.Logits, f.Sample)
		in.hops = append(in.hops, f.Hops...)
	case *protocol.Truncate:
		in.kind, in.step, in.position, in.keep = inputTruncate, f.Step, f.Position, f.Position
	case *protocol.Resume:
		in.kind, in.step, in.keep = inputResume, f.Step, o.have
		in.counts = append(in.counts, f.Rows...)
	}
}

func (in *input) setRows(o *order, step, position uint32, tokens []protocol.TokenID, logits []uint32, sample bool) {
	in.step, in.position, in.sample = step, position, sample
	in.pass, in.silent = position < o.have, position < o.give
	in.tokens = append(in.tokens, tokens...)
	in.logits = append(in.logits, logits...)
}

// setHidden decodes the hidden states of f, whose size and type have been checked.
func (in *input) setHidden(f *protocol.IntermediateResult) {
	n := len(f.Hidden) / f.DType.Size()
	in.hidden = slices.Grow(in.hidden[:0], n)[:n]
	_ = protocol.HiddenInto(in.hidden, f.Hidden, f.DType)
}
