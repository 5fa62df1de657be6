// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"time"
)

// Sessions that share a pass go round the route together, and their next rows come back one shortly after the other: a wave. Computing
// the first of them at once would cost a pass more than waiting for the rest, and break the wave up. A session alone never waits, and who
// does not keep up with a wave is no longer waited for in the next.
const (
	waveShare = 8                    // the loop waits for this part of a pass
	waveWait  = 2 * time.Millisecond // but no longer
)

// gather waits a moment if rows of the wave are missing that the first runnable session belongs to.
func (e *Engine) gather(ctx context.Context, timer *time.Timer) {
	var begin time.Time
	for {
		left, missing := e.missing()
		if !missing {
			return
		}
		if begin.IsZero() {
			begin = e.cfg.Now()
		}
		if left -= e.cfg.Now().Sub(begin); left <= 0 {
			return
		}
		timer.Reset(left)
		select {
		case <-e.wake:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// missing reports whether a session is expected, and for how long to wait for it.
func (e *Engine) missing() (wait time.Duration, missing bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	wait = min(e.stats.meanStep/waveShare, waveWait)
	if len(e.runnable) == 0 || wait == 0 || e.runnable[0].wave == 0 {
		return 0, false
	}
	for _, s := range e.sessions {
		if s.wave == e.runnable[0].wave && !s.scheduled && !s.cut {
			return wait, true
		}
	}
	return 0, false
}

// ride notes which sessions are in a wave: those that decode in one pass. e.mu is held.
func (e *Engine) ride(p *pass) {
	together := 0
	for _, j := range p.jobs {
		if j.in.computes() && !j.in.chunk() {
			together++
		}
	}
	e.waves++
	for _, j := range p.jobs {
		j.s.wave = 0
		if together > 1 && j.in.computes() && !j.in.chunk() {
			j.s.wave = e.waves
		}
	}
}
