// SPDX-License-Identifier: MIT

package engine

import (
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Observer is told what the step loop does, by the loop itself: it must not block, nor keep what it is given. Nil functions are skipped.
type Observer struct {
	Pass func(rows int, took time.Duration) // rows of all sessions went through the model together
	Step func(*protocol.HopTiming)          // a session's step was computed
}

// Queued returns how many inputs wait for the step loop.
func (e *Engine) Queued() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, s := range e.sessions {
		n += len(s.queue)
	}
	return n
}
