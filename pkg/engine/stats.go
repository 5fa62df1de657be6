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
	KVUsed      int64 // bytes reserved
	KVMax       int64
	Buffered    int64 // bytes of inputs that wait and of outputs on their way
	KeptUsed    int64 // bytes of outputs kept
	Draining    bool

	MeanStep   time.Duration // moving mean of a one-row step's processing; 0: none yet
	Steps      uint64        // steps computed
	Rows       uint64        // rows computed
	Stale      uint64        // frames of older epochs dropped
	Duplicates uint64        // frames of steps already taken, dropped
	Expired    uint64        // sessions ended because nothing was heard of them
	Refusals   map[protocol.Code]uint64
}

// counters is what Stats reads. Guarded by Engine.mu.
type counters struct {
	meanStep                                time.Duration
	steps, rows, stale, duplicates, expired uint64
	refusals                                map[protocol.Code]uint64
}

// meanWeight: a new step counts 1/8, so the mean follows a change within some ten tokens.
const meanWeight = 8

// step counts a computed step.
func (c *counters) step(rows int, processing time.Duration) {
	c.steps++
	c.rows += uint64(rows)
	switch {
	case rows != 1:
	case c.meanStep == 0:
		c.meanStep = processing
	default:
		c.meanStep += (processing - c.meanStep) / meanWeight
	}
}

// Stats returns a snapshot.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{
		Sessions: len(e.sessions), MaxSessions: e.cfg.MaxSessions,
		KVUsed: e.kvUsed, KVMax: e.cfg.KVBudget, Buffered: e.buffers.used, KeptUsed: e.keptUsed, Draining: e.draining,
		MeanStep: e.stats.meanStep, Steps: e.stats.steps, Rows: e.stats.rows,
		Stale: e.stats.stale, Duplicates: e.stats.duplicates, Expired: e.stats.expired,
		Refusals: maps.Clone(e.stats.refusals),
	}
}
