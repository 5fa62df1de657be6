// SPDX-License-Identifier: MIT

package kernel

import (
	"sync/atomic"
	"time"
)

const (
	// holdUp is the least wait that may be more than an item taking long.
	holdUp = 100 * time.Microsecond
	// longHoldUp is the most that one wait counts: once is nothing, a machine that is quiet has some each second.
	longHoldUp = 2 * time.Millisecond
	// tolerance is the part of the time that jobs may be held up: one in so many.
	tolerance = 8
	// maxDebt is how much more than that is too much.
	maxDebt = 4 * longHoldUp
	// rest is how long a thread stays out of jobs then.
	rest = 500 * time.Millisecond
)

// crew decides how many threads of a pool take part in jobs. Where programs of others keep some processors busy, threads of ours take
// turns with them, milliseconds each, and as all wait for the one put aside, more threads are slower than fewer. It goes by how long
// jobs are held up; what threads take part has no influence on results.
type crew struct {
	most int
	now  atomic.Int32 // written with the pool's mu held

	// Guarded by the pool's mu.
	debt  time.Duration // how long jobs were held up, less what is tolerated
	until time.Duration // nobody comes back before
}

func (c *crew) init(most int) {
	c.most = most
	c.now.Store(int32(most))
}

// size returns how many threads take part: those with lower numbers.
func (c *crew) size() int { return int(c.now.Load()) }

// account takes a job that began and ended at these times. waiting is since when a thread waited for others, 0 if none did for long:
// no longer than an item may take, a share of the job until then, unless a thread was put aside.
func (c *crew) account(began, waiting, ended time.Duration) {
	if held := ended - waiting; waiting != 0 && held > holdUp && held > waiting-began {
		c.debt += min(held, longHoldUp)
	}
	c.debt = max(0, c.debt-(ended-began)/tolerance)
	switch size := c.size(); {
	case c.debt > maxDebt && size > 1:
		c.now.Store(int32(size - 1))
		c.until, c.debt = ended+rest, 0
	case size < c.most && ended >= c.until:
		c.now.Store(int32(size + 1))
		c.until, c.debt = ended+rest, maxDebt-longHoldUp // one chance more
	}
}

// epoch is when the program started: time since then costs less to tell than what time it is.
var epoch = time.Now()

func now() time.Duration { return time.Since(epoch) }
