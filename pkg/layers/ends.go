// SPDX-License-Identifier: MIT

package layers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Ends are what a model has before its first layer and after its last one: embedding, final norm and head. Who holds them can give nodes
// hidden states alone ([Input.LocalEnds]). Their results are those that nodes get, bit for bit. Safe for concurrent use: calls wait for
// each other.
type Ends struct {
	cfg Config

	mu     sync.Mutex // guards all following fields
	model  *Model     // without layers
	closed bool
}

var errEndsClosed = errors.New("the model's ends are closed")

// LoadEnds makes a model's ends ready. The embedding refers to the file's bytes, which must stay mapped as long as the ends live.
func LoadEnds(ctx context.Context, f *gguf.File, cfg *Config, threads int) (*Ends, error) {
	if err := checkStray(f, cfg); err != nil {
		return nil, fmt.Errorf("load the model's ends: %w", err)
	}
	m, err := newModel(cfg, protocol.LayerRange{}, Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	plan := &loader{file: f, purpose: toPlan}
	m.loadEnds(plan)
	l := &loader{file: f, stopped: ctx.Err, pool: m.pool, memory: &m.memory, err: plan.err}
	if l.err == nil {
		l.err = m.memory.Reserve(plan.packed)
	}
	if l.err == nil {
		m.loadEnds(l)
	}
	if l.err != nil {
		m.Close()
		return nil, fmt.Errorf("load the model's ends: %w", l.err)
	}
	for _, t := range l.copied {
		f.Release(t)
	}
	m.bytes = l.held
	return &Ends{cfg: *cfg, model: m}, nil
}

// Config returns the model's shape. The caller must not change it.
func (e *Ends) Config() *Config { return &e.cfg }

// WeightBytes returns the memory of the weights held, those of the embedding included that stay in the mapped file.
func (e *Ends) WeightBytes() int64 { return e.model.bytes }

// Embed writes the hidden states that the first layer takes for some tokens to dst, [len(tokens)][hidden].
func (e *Ends) Embed(dst []float32, tokens []protocol.TokenID) error {
	c := &e.cfg
	if len(dst) != len(tokens)*c.Hidden {
		return fmt.Errorf("embed %d tokens into %d hidden states: want %d", len(tokens), len(dst), len(tokens)*c.Hidden)
	}
	for _, t := range tokens {
		if int64(t) >= int64(c.Vocab) {
			return fmt.Errorf("token %d is outside the vocabulary of %d", t, c.Vocab)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errEndsClosed
	}
	s := &e.model.scratch
	s.x, s.tokens = dst, tokens
	e.model.pool.Run(len(tokens), s.do.embed)
	s.x, s.tokens = nil, nil
	return nil
}

// Logits writes the logits of rows of hidden states, as the last layer gave them, to dst, [rows][vocab].
func (e *Ends) Logits(dst, hidden []float32) error {
	c := &e.cfg
	n := len(hidden) / c.Hidden
	if n == 0 || n > MaxRows || len(hidden) != n*c.Hidden || len(dst) != n*c.Vocab {
		return fmt.Errorf("%d logits of %d hidden states: want 1 to %d rows of %d logits and %d hidden states", len(dst), len(hidden), MaxRows, c.Vocab, c.Hidden)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errEndsClosed
	}
	m := e.model
	if s := &m.scratch; n > s.maxRows {
		s.maxRows = n
		s.normed = make([]float32, n*c.Hidden)
		s.acts = kernel.NewActs(n, c.Hidden)
	}
	m.project(dst, hidden, n)
	return nil
}

// Close ends the compute threads and gives the weights' memory back. Calls that come later fail.
func (e *Ends) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		e.model.Close()
	}
}
