// SPDX-License-Identifier: MIT

package simulate

import "time"

// clock is virtual time: a heap of what is to happen. Of events at the same time the one made first comes first.
type clock struct {
	now    time.Duration
	made   uint64
	events []event
}

type event struct {
	at     time.Duration
	number uint64
	do     func()
}

func (a *event) before(b *event) bool { return a.at < b.at || a.at == b.at && a.number < b.number }

// after lets do happen in d.
func (c *clock) after(d time.Duration, do func()) {
	c.made++
	c.events = append(c.events, event{c.now + max(d, 0), c.made, do})
	for i := len(c.events) - 1; i > 0; {
		up := (i - 1) / 2
		if !c.events[i].before(&c.events[up]) {
			break
		}
		c.events[i], c.events[up] = c.events[up], c.events[i]
		i = up
	}
}

// next lets the next event happen; false: there is none.
func (c *clock) next() bool {
	if len(c.events) == 0 {
		return false
	}
	e := c.events[0]
	last := len(c.events) - 1
	c.events[0], c.events[last] = c.events[last], event{}
	c.events = c.events[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if c.events[child].before(&c.events[least]) {
				least = child
			}
		}
		if least == i {
			break
		}
		c.events[i], c.events[least] = c.events[least], c.events[i]
		i = least
	}
	c.now = e.at
	e.do()
	return true
}

// time is now as the cores want it. No moment of the simulation is their zero.
func (c *clock) time() time.Time { return moment(c.now) }

func moment(d time.Duration) time.Time { return time.Unix(1<<30, 0).Add(d) }
