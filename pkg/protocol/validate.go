// SPDX-License-Identifier: MIT

package protocol

import (
	"errors"
	"fmt"
	"reflect"
)

// The rules of each frame beyond its fields' own limits. They hold when encoding and when decoding.

func (*Hello) validate() error         { return nil }
func (*Proof) validate() error         { return nil }
func (*StatusRequest) validate() error { return nil }
func (*ModelRequest) validate() error  { return nil }
func (*Attached) validate() error      { return nil }
func (*Truncate) validate() error      { return nil }
func (*Close) validate() error         { return nil }
func (*Leaving) validate() error       { return nil }
func (*Beat) validate() error          { return nil }

func (*BurstTaken) validate() error { return nil }

func (f *LinksRequest) validate() error {
	for i, p := range f.Want {
		if p.Peer == "" {
			return fmt.Errorf("wanted link %d goes to nobody", i)
		}
	}
	return nil
}

func (f *Links) validate() error {
	for i, l := range f.Links {
		if l.Peer == "" {
			return fmt.Errorf("link %d goes to nobody", i)
		}
	}
	return nil
}

func (f *Burst) validate() error {
	if len(f.Pad) == 0 {
		return errors.New("a part of a burst without bytes")
	}
	return nil
}

func (f *Move) validate() error {
	if f.Have.Len() <= 0 || f.Take.Len() <= 0 {
		return fmt.Errorf("a move from layers %d to %d to layers %d to %d", f.Have.From, f.Have.To, f.Take.From, f.Take.To)
	}
	return nil
}

func (f *Moving) validate() error {
	if f.Take.Len() <= 0 {
		return fmt.Errorf("layers %d to %d", f.Take.From, f.Take.To)
	}
	return nil
}

func (f *Status) validate() error {
	if !f.Layers.Valid(int(f.NLayers)) {
		return fmt.Errorf("layers %d to %d of a model of %d layers", f.Layers.From, f.Layers.To, f.NLayers)
	}
	return nil
}

func (f *ModelChunk) validate() error {
	if uint64(len(f.Bytes)) > f.Total {
		return fmt.Errorf("a chunk of %d bytes of a manifest of %d", len(f.Bytes), f.Total)
	}
	return nil
}

// zero reports whether nothing is asked for.
func (s *Sampling) zero() bool {
	plain := *s
	if len(s.Bias) == 0 {
		plain.Bias = nil
	}
	if len(s.Grammar) == 0 {
		plain.Grammar = nil
	}
	return reflect.ValueOf(plain).IsZero()
}

func (f *Open) validate() error {
	if f.Wire.Size() == 0 {
		return fmt.Errorf("wire: unknown element type %d", f.Wire)
	}
	if len(f.Route) == 0 || int(f.Index) >= len(f.Route) {
		return fmt.Errorf("index %d in a route of %d hops", f.Index, len(f.Route))
	}
	next := 0
	for i, h := range f.Route {
		if h.Peer == "" {
			return fmt.Errorf("hop %d of the route has no peer ID", i)
		}
		if h.Layers.From != next || h.Layers.Len() <= 0 {
			return fmt.Errorf("hop %d of the route has layers %d to %d, expected the next ones from %d", i, h.Layers.From, h.Layers.To, next)
		}
		next = h.Layers.To
	}
	if f.Positions == 0 {
		return errors.New("no positions to reserve")
	}
	if uint64(len(f.Prefix)) > uint64(f.Positions) {
		return fmt.Errorf("a prefix of %d tokens for %d positions", len(f.Prefix), f.Positions)
	}
	if len(f.Rounds) > 0 && f.Wire == F32 {
		return errors.New("rounded boundaries of a wire that rounds nothing")
	}
	for i, b := range f.Rounds {
		if b == 0 || int(b) >= next || i > 0 && b <= f.Rounds[i-1] {
			return fmt.Errorf("rounded boundary %d: want rising ones within layers 0 to %d", b, next)
		}
	}
	if err := f.validateSources(); err != nil {
		return err
	}
	if f.LocalEnds() && !f.Request.Sampling.zero() {
		return errors.New("sampling parameters for hops that draw no tokens")
	}
	if f.LocalEnds() && len(f.Prefix) > 0 {
		return errors.New("a prefix for hops that are given no tokens")
	}
	return f.Request.Sampling.validate()
}

// validateSources checks that the sources tile the receiver's layers.
func (f *Open) validateSources() error {
	if (len(f.Sources) > 0) != (f.Rows > 0) {
		return fmt.Errorf("%d rows to take over from %d sources", f.Rows, len(f.Sources))
	}
	if f.Rows > f.Positions {
		return fmt.Errorf("%d rows to take over into %d positions", f.Rows, f.Positions)
	}
	if len(f.Sources) == 0 {
		return nil
	}
	mine := f.Route[f.Index]
	next := mine.Layers.From
	for i, h := range f.Sources {
		if h.Peer == "" || h.Peer == mine.Peer {
			return fmt.Errorf("source %d is %q: want another peer than the receiver", i, h.Peer)
		}
		if h.Layers.From != next || h.Layers.Len() <= 0 {
			return fmt.Errorf("source %d has layers %d to %d, expected the next ones from %d", i, h.Layers.From, h.Layers.To, next)
		}
		next = h.Layers.To
	}
	if next != mine.Layers.To {
		return fmt.Errorf("the sources end at layer %d, the receiver's layers at %d", next, mine.Layers.To)
	}
	return nil
}

func (f *Export) validate() error {
	if f.Layers.Len() <= 0 {
		return fmt.Errorf("layers %d to %d", f.Layers.From, f.Layers.To)
	}
	if f.Position >= f.End {
		return fmt.Errorf("rows %d to %d", f.Position, f.End)
	}
	return nil
}

func (f *KVRows) validate() error {
	switch {
	case f.Layers.Len() <= 0:
		return fmt.Errorf("layers %d to %d", f.Layers.From, f.Layers.To)
	case f.Rows == 0:
		return errors.New("a part of a KV cache without rows")
	case uint64(f.Position)+uint64(f.Rows) > MaxPositions:
		return fmt.Errorf("%d rows from position %d, the last position is %d", f.Rows, f.Position, MaxPositions)
	case len(f.Tokens) != 0 && len(f.Tokens) != int(f.Rows):
		return fmt.Errorf("%d tokens of %d rows", len(f.Tokens), f.Rows)
	case len(f.KV) == 0 || len(f.KV)%(int(f.Rows)*f.Layers.Len()) != 0:
		return fmt.Errorf("%d bytes of keys and values are not %d rows of %d layers", len(f.KV), f.Rows, f.Layers.Len())
	}
	return nil
}

func (s *Sampling) validate() error {
	for _, v := range []float32{s.Temperature, s.TopP, s.MinP, s.RepeatPenalty} {
		if v < 0 {
			return errors.New("a sampling parameter is negative")
		}
	}
	for i, b := range s.Bias {
		if i > 0 && b.Token <= s.Bias[i-1].Token {
			return errors.New("the tokens of a bias do not rise")
		}
	}
	if (s.Language == 0) != (len(s.Grammar) == 0) {
		return fmt.Errorf("a grammar of %d bytes in language %d", len(s.Grammar), s.Language)
	}
	return nil
}

func (f *Opened) validate() error {
	if f.KeptTo > f.CachedTo {
		return fmt.Errorf("outputs of %d rows, %d rows cached", f.KeptTo, f.CachedTo)
	}
	return nil
}

func (f *Resume) validate() error {
	if len(f.Rows) == 0 {
		return errors.New("a resume of no hops")
	}
	return nil
}

func (f *Attach) validate() error {
	if f.Index == 0 {
		return errors.New("the first hop has no hop before it")
	}
	return nil
}

func (f *Step) validate() error { return validateRows(f.Position, f.Tokens, f.Logits) }

func validateRows(position uint32, tokens []TokenID, logits []uint32) error {
	if len(tokens) == 0 {
		return errors.New("a step without rows")
	}
	if int64(position)+int64(len(tokens)) > MaxPositions {
		return fmt.Errorf("%d rows from position %d, the last position is %d", len(tokens), position, MaxPositions)
	}
	for i, r := range logits {
		if int(r) >= len(tokens) {
			return fmt.Errorf("logits of row %d wanted of %d rows", r, len(tokens))
		}
		if i > 0 && r <= logits[i-1] {
			return errors.New("the rows whose logits are wanted do not rise")
		}
	}
	return nil
}

func (f *IntermediateResult) validate() error {
	if err := validateRows(f.Position, f.Tokens, f.Logits); err != nil {
		return err
	}
	size := f.DType.Size()
	if size == 0 {
		return fmt.Errorf("unknown element type %d", f.DType)
	}
	if len(f.Hidden)%(size*len(f.Tokens)) != 0 {
		return fmt.Errorf("%d bytes of hidden states are not %d rows of %s", len(f.Hidden), len(f.Tokens), f.DType)
	}
	switch n := len(f.Logits); {
	case len(f.LogitRows) == 0:
	case n == 0:
		return errors.New("logits that nobody wanted")
	case len(f.LogitRows)%(4*n) != 0:
		return fmt.Errorf("%d bytes of logits are not %d rows of float32", len(f.LogitRows), n)
	}
	last := len(f.Hidden) == 0
	switch {
	case !last && (len(f.Generated) > 0 || len(f.LogitRows) > 0 || len(f.Logprobs) > 0):
		return errors.New("both hidden states and results of the last shard")
	case last && f.Sample != (len(f.Generated) > 0):
		return fmt.Errorf("%d generated tokens, a token asked for: %t", len(f.Generated), f.Sample)
	case len(f.Logprobs) > 0 && (len(f.Generated) != 1 || f.Logprobs[0].Token != f.Generated[0]):
		return errors.New("log probabilities that are not of the generated token")
	case last && len(f.Logits) > 0 && len(f.LogitRows) == 0:
		return fmt.Errorf("no logits of the %d wanted rows", len(f.Logits))
	}
	return validateHops(f.Hops)
}

// validateHops checks that timings are of shards that follow each other.
func validateHops(hops []HopTiming) error {
	for i, h := range hops {
		if h.Layers.Len() <= 0 || i > 0 && h.Layers.From != hops[i-1].Layers.To {
			return fmt.Errorf("timing %d is of layers %d to %d, not of the next hop", i, h.Layers.From, h.Layers.To)
		}
	}
	return nil
}

func (e *Error) validate() error {
	if e.Code == 0 {
		return errors.New("an error without a code")
	}
	if e.Layers.From > e.Layers.To {
		return fmt.Errorf("layers %d to %d", e.Layers.From, e.Layers.To)
	}
	return nil
}
