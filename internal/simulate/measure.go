// SPDX-License-Identifier: MIT

package simulate

import (
	"errors"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/pipeline"
)

// measures are what is seen from the end of the warm-up on.
type measures struct {
	open        bool
	interrupted bool
	began, last time.Duration
	ended       time.Duration

	least     int           // copies of the layer with the fewest
	whole     time.Duration // for how long every layer was served
	leastTime float64       // least, summed over time
	complete  time.Duration // when all layers were served for the first time; 0: never
	moves     int

	asked, done, lost, refused, underWay int
	healed                               int // requests that outlived a loss
	tokens                               int
	perToken, firstToken, compute, queue []time.Duration // of requests that were done
	hops                                 int
	pauses                               []time.Duration
}

// pass takes note of the time since the last change of who serves what.
func (m *measures) pass(w *world) {
	if m.least > 0 && m.complete == 0 {
		m.complete = m.last
	}
	if m.open {
		d := w.now - m.last
		if m.least > 0 {
			m.whole += d
		}
		m.leastTime += float64(m.least) * d.Seconds()
	}
	m.last = w.now
}

func (m *measures) begin(w *world) {
	m.pass(w)
	m.open, m.began = true, w.now
}

func (m *measures) close(w *world) {
	m.pass(w)
	if m.open {
		m.ended = w.now
	}
	m.open = false
}

func (m *measures) moved() {
	if m.open {
		m.moves++
	}
}

// finish counts a request that has ended.
func (m *measures) finish(g *generation, err error) {
	m.pauses = append(m.pauses, g.pauses...)
	if err != nil {
		var failed *pipeline.FailedError
		if errors.As(err, &failed) && failed.Phase == pipeline.PhaseOpening {
			m.refused++
		} else {
			m.lost++
		}
		return
	}
	r := g.state.Report()
	m.done++
	m.tokens += r.Tokens
	m.hops += len(r.Shards)
	if len(r.Recoveries) > 0 {
		m.healed++
	}
	m.firstToken = append(m.firstToken, r.TimeToFirstToken)
	if r.DecodeSteps == 0 {
		return
	}
	steps := time.Duration(r.DecodeSteps)
	m.perToken = append(m.perToken, r.Decode/steps)
	m.compute = append(m.compute, r.Processing/steps)
	m.queue = append(m.queue, g.queue/steps)
}

// quantile is the value below which a share of durations lies; they are sorted by it.
func quantile(d []time.Duration, share float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(share*float64(len(d))))]
}
