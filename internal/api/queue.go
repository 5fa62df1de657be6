// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// queue decides who generates next. At most so many generations run at once; others wait in a line a user, and the next place goes to
// the user who has the fewest running, among equals to the one who was served longest ago: who sends much waits for himself only. Lines
// are bounded, together and each.
//
// How many sessions the swarm takes is not known beforehand and others use it too. A generation that finds no room comes back, first in
// its line; the queue then lets no more run than the swarm has just shown to take, and tries one more now and then.
type queue struct {
	now     func() time.Time
	most    int // that run at once, whatever the swarm takes
	maxLine int // that wait in one line
	maxAll  int // that wait together

	mu      sync.Mutex // guards all following fields
	lines   map[string]*line
	served  uint64 // counts grants and new lines
	running int
	waiting int
	limit   int       // that run at once now. Invariant: 1 ≤ limit ≤ most
	refused time.Time // when the swarm had no room, or when one more was last tried
	pause   *time.Timer
	closed  bool
	mean    time.Duration // moving mean of how long a place was held
}

// line is what one user has in the queue.
type line struct {
	waiting []*waiter
	running int
	served  uint64 // number of the latest grant, or of its beginning
}

// waiter is somebody in a line. granted is closed under the queue's lock.
type waiter struct {
	granted chan struct{}
	refused bool // the queue closed; set before granted is closed
}

const (
	// regrow is how long the queue keeps to what the swarm has shown to take before it lets one more try.
	regrow = 15 * time.Second

	// busyPause is how long nobody tries a swarm that took none of ours: package placement leaves nodes alone for as long.
	busyPause = 2 * time.Second
)

func newQueue(most, maxLine, maxAll int) *queue {
	return &queue{now: time.Now, most: most, maxLine: maxLine, maxAll: maxAll, limit: most, lines: map[string]*line{}}
}

// place is the right to run a generation.
type place struct {
	q     *queue
	user  string
	since time.Time
}

// full says that too many wait already. The caller holds mu.
func (q *queue) full(what string) *apiError {
	return &apiError{status: http.StatusTooManyRequests, kind: typeRateLimit, code: "queue_full", message: what, retry: q.retryAfter()}
}

// retryAfter estimates when a place is free for one who comes now. The caller holds mu.
func (q *queue) retryAfter() time.Duration {
	wait := q.mean * time.Duration(q.waiting+1) / time.Duration(q.limit)
	return min(max(wait, time.Second), time.Minute)
}

// RetryAfter estimates when to come again.
func (q *queue) RetryAfter() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.retryAfter()
}

// Enter waits for a place in user's line, at its head if first (who was there before). The error is an *apiError when the lines are full, and
// ctx's cause when it ends.
func (q *queue) Enter(ctx context.Context, user string, first bool) (*place, error) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil, errShutdown
	}
	l := q.lines[user]
	if l == nil {
		q.served++
		l = &line{served: q.served} // behind those who wait: coming anew, again and again, is no way around a line
		q.lines[user] = l
	}
	if !first {
		var full *apiError
		switch {
		case len(l.waiting) >= q.maxLine:
			full = q.full("too many of your requests wait already")
		case q.waiting >= q.maxAll:
			full = q.full("too many requests wait already")
		}
		if full != nil {
			q.forget(user, l)
			q.mu.Unlock()
			return nil, full
		}
	}
	w := &waiter{granted: make(chan struct{})}
	if first {
		l.waiting = slices.Insert(l.waiting, 0, w)
	} else {
		l.waiting = append(l.waiting, w)
	}
	q.waiting++
	q.grant()
	q.mu.Unlock()

	select {
	case <-w.granted:
		if w.refused {
			return nil, errShutdown
		}
	case <-ctx.Done():
		q.mu.Lock()
		defer q.mu.Unlock()
		if i := slices.Index(l.waiting, w); i >= 0 {
			l.waiting = slices.Delete(l.waiting, i, i+1)
			q.waiting--
			q.forget(user, l)
		} else if !w.refused {
			q.leave(user) // granted meanwhile
			q.grant()
		}
		return nil, context.Cause(ctx)
	}
	return &place{q: q, user: user, since: q.now()}, nil
}

// Leave gives the place back.
func (p *place) Leave() {
	q := p.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if held := q.now().Sub(p.since); q.mean == 0 {
		q.mean = held
	} else {
		q.mean += (held - q.mean) / 8
	}
	q.leave(p.user)
	q.grant()
}

// NoRoom gives the place back because the swarm took no session more.
func (p *place) NoRoom() {
	q := p.q
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(p.user)
	q.limit, q.refused = max(1, min(q.limit, q.running)), q.now()
	if q.running > 0 {
		return // its end is when to try again
	}
	if q.pause == nil {
		q.pause = time.AfterFunc(busyPause, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.pause = nil
			q.grant()
		})
	}
}

// Close refuses who waits and who comes, with errShutdown. Places that were given stay.
func (q *queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for user, l := range q.lines {
		for _, w := range l.waiting {
			w.refused = true
			close(w.granted)
		}
		l.waiting = nil
		q.forget(user, l)
	}
	q.waiting = 0
	if q.pause != nil {
		q.pause.Stop()
	}
}

// leave ends a generation of user's. The caller holds mu.
func (q *queue) leave(user string) {
	l := q.lines[user]
	l.running--
	q.running--
	q.forget(user, l)
}

// forget drops a line that nobody uses. The caller holds mu.
func (q *queue) forget(user string, l *line) {
	if l.running == 0 && len(l.waiting) == 0 {
		delete(q.lines, user)
	}
}

// grant gives places away while there are some. The caller holds mu.
func (q *queue) grant() {
	if q.pause != nil {
		return
	}
	if q.limit < q.most && q.now().Sub(q.refused) >= regrow {
		q.limit, q.refused = q.limit+1, q.now()
	}
	for q.running < q.limit && q.waiting > 0 {
		var next *line
		for _, l := range q.lines {
			if len(l.waiting) > 0 && (next == nil || l.running < next.running || l.running == next.running && l.served < next.served) {
				next = l
			}
		}
		q.served++
		next.served = q.served
		next.running++
		q.running++
		q.waiting--
		close(next.waiting[0].granted)
		next.waiting = slices.Delete(next.waiting, 0, 1)
	}
}

// load returns how many run and wait now.
func (q *queue) load() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running, q.waiting
}
