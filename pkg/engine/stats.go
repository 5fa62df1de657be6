// SPDX-License-Identifier: MIT

package engine

import (
	"maps"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Stats is a snapshot of an engine.
type Stats struct {
	Sessions    int // open now
	MaxSessions int
	KVUsed      int64 // bytes of pages that sessions have
	KVMax       int64
	KVCached    int64 // bytes of pages that are remembered and no session has: they go when memory is needed
	Buffered    int64 // bytes of inputs that wait and of outputs on their way
	KeptUsed    int64 // bytes of outputs that sessions have kept
	KeptCached  int64 // bytes of outputs that are remembered with pages, and no session has
	Draining    bool

	MeanStep   time.Duration // moving mean of a one-row step's processing; 0: none yet
	Passes     uint64        // through the model
	Steps      uint64        // steps computed; over Passes: how many sessions share one
	Rows       uint64        // rows computed
	Stale      uint64        // frames of older epochs dropped
	Duplicates uint64        // frames of steps already taken, dropped
	Expired    uint64        // sessions ended because nothing was heard of them
	Refusals   map[protocol.Code]uint64
}

// counters is what Stats reads. Guarded by Engine.mu.
type counters struct {
	meanStep                                        time.Duration
	passes, steps, rows, stale, duplicates, expired uint64
	refusals                                        map[protocol.Code]uint64
}

// meanWeight: a new step counts 1/8, so the mean follows a change within some ten tokens.
const meanWeight = 8

// pass counts what was computed. The mean is of passes in which each session has one row: what a step of one row takes here, together
// with those of the others.
func (c *counters) pass(p *pass) {
	if len(p.steps) == 0 {
		return
	}
	c.passes++
	c.steps += uint64(len(p.steps))
	c.rows += uint64(p.rows)
	switch {
	case p.rows != len(p.steps):
	case c.meanStep == 0:
		c.meanStep = p.processing
	default:
		c.meanStep += (p.processing - c.meanStep) / meanWeight
	}
}

// Stats returns a snapshot.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{
		Sessions: len(e.sessions), MaxSessions: e.cfg.MaxSessions,
		KVUsed: e.kvUsed - int64(e.prefixes.idle)*e.pageBytes, KVMax: e.cfg.KVBudget, KVCached: int64(e.prefixes.idle) * e.pageBytes, Buffered: e.buffers.used, KeptUsed: e.keptUsed - e.prefixes.outputs, KeptCached: e.prefixes.outputs, Draining: e.draining,
		MeanStep: e.stats.meanStep, Passes: e.stats.passes, Steps: e.stats.steps, Rows: e.stats.rows,
		Stale: e.stats.stale, Duplicates: e.stats.duplicates, Expired: e.stats.expired,
		Refusals: maps.Clone(e.stats.refusals),
	}
}
