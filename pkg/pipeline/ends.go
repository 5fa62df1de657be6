// SPDX-License-Identifier: MIT

package pipeline

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// EndsModel is what a model has before its first layer and after its last one. It is safe for concurrent use.
type EndsModel interface {
	// Embed writes what the first layer takes to dst, [len(tokens)][hidden].
	Embed(dst []float32, tokens []protocol.TokenID) error
	// Logits writes the logits of rows that the last layer gave to dst, [rows][vocab].
	Logits(dst, hidden []float32) error
}

// EndsConfig is what [Ends] need. All fields are required.
type EndsConfig struct {
	Model         EndsModel
	Hidden, Vocab int
	Sampling      protocol.Sampling

	// Draw draws the token that follows history from a row of logits, which it may change. Called by one goroutine at a time.
	Draw func(logits []float32, history []protocol.TokenID, p protocol.Sampling) protocol.TokenID
}

// Ends keep the tokens of one generation with the coordinator: they stand where the hop before the first one and the one after the last would,
// so that hops see hidden states only ([protocol.Open.LocalEnds]). The generation's state knows nothing of it: it sends steps of tokens and
// gets logits and tokens. Safe for concurrent use.
type Ends struct {
	cfg EndsConfig

	entering sync.Mutex                  // guards the following two; taken before mu
	frame    protocol.IntermediateResult // what the first hop is sent
	embedded []float32                   // [rows][hidden]

	leaving sync.Mutex // guards the following two; taken before mu
	hidden  []float32  // [rows][hidden]
	logits  []float32  // [rows][vocab]

	mu      sync.Mutex         // guards all following fields
	history []protocol.TokenID // of the rows sent
	epoch   protocol.Epoch
	have    uint32            // rows that the first hop had when the epoch began
	wanted  map[uint32]wanted // of the epoch, by step
	took    time.Duration
}

// wanted is what a step is to give.
type wanted struct {
	rows    []uint32           // asked for
	logits  int                // of them, the first so many are those whose logits the state wants
	sample  bool               // draw from the last one
	history []protocol.TokenID // up to the step's last row; nobody changes it any more
}

// NewEnds returns the ends of one generation.
func NewEnds(cfg EndsConfig) *Ends { return &Ends{cfg: cfg, wanted: map[uint32]wanted{}} }

// Took is the time that embedding, head and draws have taken so far.
func (e *Ends) Took() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.took
}

// Open returns what a hop is told in place of o: no tokens, and nothing of how they are drawn.
func (e *Ends) Open(o *protocol.Open) *protocol.Open {
	c := *o
	c.Prefix, c.Request.Sampling, c.Request.MaxTokens = nil, protocol.Sampling{}, 0
	return &c
}

// Enter returns what the first hop is sent in place of f. It is valid until the next call.
func (e *Ends) Enter(f protocol.Frame) (protocol.Frame, error) {
	switch f := f.(type) {
	case *protocol.Resume:
		e.mu.Lock()
		defer e.mu.Unlock()
		e.begin(f.Epoch)
		e.have = f.Rows[0]
	case *protocol.Truncate:
		e.mu.Lock()
		defer e.mu.Unlock()
		e.begin(f.Epoch)
		e.have = min(e.have, f.Position)
	case *protocol.Step:
		return e.enter(f)
	}
	return f, nil
}

// begin forgets what belongs to an older epoch. e.mu is held.
func (e *Ends) begin(epoch protocol.Epoch) {
	if epoch != e.epoch {
		e.epoch, e.have = epoch, 0
		clear(e.wanted)
	}
}

// enter embeds a step's rows.
func (e *Ends) enter(f *protocol.Step) (protocol.Frame, error) {
	began := time.Now()
	e.entering.Lock()
	defer e.entering.Unlock()
	r := &e.frame
	*r = protocol.IntermediateResult{
		Session: f.Session, Epoch: f.Epoch, Step: f.Step, Position: f.Position, DType: protocol.F32,
		Tokens: slices.Grow(r.Tokens[:0], len(f.Tokens))[:len(f.Tokens)], Logits: append(r.Logits[:0], f.Logits...), Hidden: r.Hidden[:0],
	}
	clear(r.Tokens) // they only count the rows
	if last := uint32(len(f.Tokens) - 1); f.Sample && !slices.Contains(r.Logits, last) {
		r.Logits = append(r.Logits, last)
	}
	has, err := e.note(f, r.Logits)
	if err != nil {
		return nil, err
	}
	if !has {
		n := len(f.Tokens) * e.cfg.Hidden
		e.embedded = slices.Grow(e.embedded[:0], n)[:n]
		if err := e.cfg.Model.Embed(e.embedded, f.Tokens); err != nil {
			return nil, err
		}
		r.Hidden = protocol.AppendHidden(r.Hidden, e.embedded, protocol.F32)
	}
	r.Digest = protocol.Digest(r)
	e.spend(began)
	return r, nil
}

// note keeps what a step's answer will need. It reports whether the first hop has the rows already.
func (e *Ends) note(f *protocol.Step, rows []uint32) (has bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begin(f.Epoch)
	at, end := int(f.Position), int(f.Position)+len(f.Tokens)
	switch n := len(e.history); {
	case at > n:
		return false, fmt.Errorf("step %d begins at position %d, %d are known", f.Step, at, n)
	case at == n:
		e.history = append(e.history, f.Tokens...)
	case end > n || !slices.Equal(e.history[at:end], f.Tokens):
		e.history = append(slices.Clone(e.history[:at]), f.Tokens...) // what is wanted of older steps keeps the old ones
	}
	if len(rows) > 0 {
		e.wanted[f.Step] = wanted{rows: slices.Clone(rows), logits: len(f.Logits), sample: f.Sample, history: e.history[:end:end]}
	}
	return f.Position < e.have, nil
}

// Leave turns the last hop's answer into that of a hop with norm, head and sampler. An answer that nothing is known of is left as it is, for the
// state to judge.
func (e *Ends) Leave(r *protocol.IntermediateResult) error {
	e.mu.Lock()
	w, ok := e.wanted[r.Step]
	if ok = ok && r.Epoch == e.epoch; ok {
		delete(e.wanted, r.Step)
	}
	e.mu.Unlock()
	switch {
	case !ok:
		return nil
	case !slices.Equal(r.Logits, w.rows):
		return protocol.Errorf(protocol.CodeBadFrame, "answered step %d with rows %v, rows %v were asked for", r.Step, r.Logits, w.rows)
	case len(r.LogitRows) != 4*e.cfg.Hidden*len(w.rows):
		return protocol.Errorf(protocol.CodeBadFrame, "answered step %d with %d bytes, expected %d rows of %d hidden states", r.Step, len(r.LogitRows), len(w.rows), e.cfg.Hidden)
	}
	began := time.Now()
	e.leaving.Lock()
	defer e.leaving.Unlock()
	n, v := len(w.rows)*e.cfg.Hidden, e.cfg.Vocab
	e.hidden = slices.Grow(e.hidden[:0], n)[:n]
	if err := protocol.HiddenInto(e.hidden, r.LogitRows, protocol.F32); err != nil {
		return err
	}
	e.logits = slices.Grow(e.logits[:0], len(w.rows)*v)[:len(w.rows)*v]
	if err := e.cfg.Model.Logits(e.logits, e.hidden); err != nil {
		return err
	}
	r.Logits, r.Sample = r.Logits[:w.logits], w.sample
	r.LogitRows = protocol.AppendHidden(nil, e.logits[:w.logits*v], protocol.F32)
	if w.sample { // after the logits were taken: drawing changes them
		r.Generated = append(r.Generated[:0], e.cfg.Draw(e.logits[(len(w.rows)-1)*v:], w.history, e.cfg.Sampling))
	}
	e.spend(began)
	return nil
}

// spend adds the time since began.
func (e *Ends) spend(began time.Time) {
	d := time.Since(began)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.took += d
}
