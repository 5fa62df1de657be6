// SPDX-License-Identifier: MIT

package simulate

import (
	"context"
	"fmt"
	"time"

	"github.com/shardnode/shardnode/pkg/discovery"
)

// Result is what a swarm did. Durations of requests are of those that were done.
type Result struct {
	Nodes, Users int
	Interrupted  bool          // before its time
	Measured     time.Duration // after the warm-up

	Coverage float64       // share of the time in which somebody served every layer
	Copies   float64       // of the layer with the fewest, mean over time
	Complete time.Duration // from the first start until every layer was served; 0: never
	Moves    float64       // of a node an hour

	Asked, Done, Lost, Refused, UnderWay int // requests: Asked is the sum of the others
	Healed                               int // of those done, that outlived a loss or a leave

	TokensPerSecond              float64
	Hops                         float64 // of a route, mean
	PerToken, PerToken90         time.Duration
	Compute, Queue               time.Duration // medians of their parts of a token's time
	FirstToken, FirstToken90     time.Duration
	Pauses                       int // interruptions that were healed
	Pause, Pause90, LongestPause time.Duration
	DHT                          discovery.Load // a node, as modelled
}

// Run simulates a swarm. When ctx ends it returns what there is until then. progress, if not nil, hears how far it is, from 0 to 1.
func Run(ctx context.Context, cfg Config, progress func(share float64)) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	w := newWorld(cfg)
	w.run(ctx, progress)
	return w.result(), nil
}

func (w *world) result() *Result {
	m := &w.m
	r := &Result{
		Nodes: w.cfg.Nodes, Users: max(1, int(w.cfg.Users*float64(w.cfg.Nodes)+0.5)), Interrupted: m.interrupted, Complete: m.complete,
		Asked: m.asked, Done: m.done, Lost: m.lost, Refused: m.refused, UnderWay: m.underWay, Healed: m.healed,
		PerToken: quantile(m.perToken, 0.5), PerToken90: quantile(m.perToken, 0.9), Compute: quantile(m.compute, 0.5), Queue: quantile(m.queue, 0.5),
		FirstToken: quantile(m.firstToken, 0.5), FirstToken90: quantile(m.firstToken, 0.9),
		Pauses: len(m.pauses), Pause: quantile(m.pauses, 0.5), Pause90: quantile(m.pauses, 0.9), LongestPause: quantile(m.pauses, 1),
		DHT: discovery.LoadOf(w.cfg.Nodes, w.cfg.Nodes+len(w.crowd), w.cfg.Churn),
	}
	if m.done > 0 {
		r.Hops = float64(m.hops) / float64(m.done)
	}
	if r.Measured = m.ended - m.began; r.Measured > 0 {
		r.Coverage = m.whole.Seconds() / r.Measured.Seconds()
		r.Copies = m.leastTime / r.Measured.Seconds()
		r.Moves = float64(m.moves) / float64(w.cfg.Nodes) / r.Measured.Hours()
		r.TokensPerSecond = float64(m.tokens) / r.Measured.Seconds()
	}
	return r
}
