// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// crowd is users in a queue, in virtual time.
type crowd struct {
	t *testing.T
	q *queue

	mu    sync.Mutex
	order []string // who was served, in order
	wg    sync.WaitGroup
}

// come has a user ask, and hold the place for a second once he has it.
func (c *crowd) come(user string) {
	c.wg.Go(func() {
		p, err := c.q.Enter(c.t.Context(), user, false)
		if err != nil {
			c.t.Errorf("%s: %v", user, err)
			return
		}
		c.mu.Lock()
		c.order = append(c.order, user)
		c.mu.Unlock()
		time.Sleep(time.Second)
		p.Leave()
	})
}

// TestQueueIsFair: who sends much waits for himself; who comes anew is behind those who wait.
func TestQueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, q: newQueue(1, 10, 20)}
		for _, user := range []string{"a", "a", "a", "a", "b", "c", "b"} {
			c.come(user)
			synctest.Wait()
		}
		c.wg.Wait()
		if got := strings.Join(c.order, ""); got != "aabcaba" { // the second a was there before b
			t.Errorf("served %s", got)
		}
		if len(c.q.lines) != 0 || c.q.running != 0 || c.q.waiting != 0 {
			t.Errorf("left: %+v", c.q)
		}
	})
}

// TestQueueStarvesNobody: two who come again and again do not keep a third from his turn.
func TestQueueStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, q: newQueue(1, 10, 20)}
		for _, user := range []string{"b", "c"} {
			go func() {
				for range 20 {
					c.come(user)
					time.Sleep(1500 * time.Millisecond)
				}
			}()
		}
		time.Sleep(100 * time.Millisecond)
		for range 3 {
			c.come("a")
		}
		time.Sleep(12 * time.Second)
		c.mu.Lock()
		served := strings.Count(strings.Join(c.order, ""), "a")
		c.mu.Unlock()
		if served != 3 {
			t.Errorf("a was served %d times in 12 turns of three users, want 3: %v", served, c.order)
		}
		time.Sleep(time.Minute)
		c.wg.Wait()
	})
}

// TestQueueHundredUsers: with a hundred who ask at once of sixteen places, the longest wait of each user is at most twice his middle one,
// or two turns.
func TestQueueHundredUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(16, 10, 1000)
		waits := make([][]time.Duration, 10)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				for range 5 {
					began := time.Now()
					p, err := q.Enter(t.Context(), fmt.Sprint(i%10), false)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					waits[i%10] = append(waits[i%10], time.Since(began))
					mu.Unlock()
					time.Sleep(time.Second)
					p.Leave()
				}
			})
		}
		wg.Wait()
		for user, w := range waits {
			slices.Sort(w)
			if last, middle := w[len(w)-1], w[len(w)/2]; last > max(2*middle, 2*time.Second) {
				t.Errorf("user %d: waited %s at the most, %s in the middle", user, last, middle)
			}
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1, 2, 3)
		held, err := q.Enter(t.Context(), "a", false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, user := range []string{"a", "a", "b"} {
			wg.Go(func() {
				if _, err := q.Enter(ctx, user, false); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v, want canceled", user, err)
				}
			})
			synctest.Wait()
		}
		for user, want := range map[string]string{"a": "your requests", "c": "too many requests"} {
			var e *apiError
			if _, err := q.Enter(t.Context(), user, false); !errors.As(err, &e) || e.status != 429 || e.retry < time.Second || !strings.Contains(e.message, want) {
				t.Errorf("%s: %v, want %q", user, err, want)
			}
		}
		cancel()
		wg.Wait()
		held.Leave()
		if len(q.lines) != 0 || q.waiting != 0 || q.running != 0 {
			t.Errorf("left: %+v", q)
		}
	})
}

// TestQueueLearnsWhatTheSwarmTakes: who finds no room is first in his line again, and no more run than fit, until it tries again.
func TestQueueLearnsWhatTheSwarmTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fits = 3
		q := newQueue(8, 100, 100)
		var wg sync.WaitGroup
		var mu sync.Mutex
		open, refused := 0, 0
		for range 30 {
			wg.Go(func() {
				for first := false; ; first = true {
					p, err := q.Enter(t.Context(), "u", first)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					fit := open < fits
					if fit {
						open++
					} else {
						refused++
					}
					mu.Unlock()
					if !fit {
						p.NoRoom()
						continue
					}
					time.Sleep(time.Second)
					mu.Lock()
					open--
					mu.Unlock()
					p.Leave()
					return
				}
			})
		}
		wg.Wait()
		if refused > 8 {
			t.Errorf("%d attempts found no room: the queue does not learn", refused)
		}
		// A swarm that others fill: nobody of ours runs, and still somebody tries again.
		p, err := q.Enter(t.Context(), "u", false)
		if err != nil {
			t.Fatal(err)
		}
		p.NoRoom()
		began := time.Now()
		if p, err = q.Enter(t.Context(), "u", true); err != nil || time.Since(began) != busyPause {
			t.Errorf("%v after %s, want %s", err, time.Since(began), busyPause)
		}
		p.Leave()
	})
}
