// SPDX-License-Identifier: MIT

package client

import (
	"cmp"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/p2p"
)

// chaosEvent is something that is to be done at its time.
type chaosEvent struct {
	at time.Duration
	do func()
}

// hurt lets everything go wrong that the plan says, and go right again; what has not begun when ended is closed does not.
func (s *chaosSwarm) hurt(ended <-chan struct{}) {
	var events []chaosEvent
	add := func(at time.Duration, do func()) {
		events = append(events, chaosEvent{at, do})
		slices.SortStableFunc(events, func(a, b chaosEvent) int { return cmp.Compare(a.at, b.at) })
	}
	for _, f := range s.plan.faults {
		add(f.at, func() {
			select {
			case <-ended:
				return
			default:
			}
			s.logf("%s", f)
			end := s.begin(f)
			if end != nil && f.lasts > 0 {
				add(f.at+f.lasts, func() {
					s.logf("%s is over", f)
					end()
				})
			}
			if f.kind == chaosDie {
				add(f.at+s.patience(), func() { s.checkDead(f.a) })
			}
		})
	}
	for len(events) > 0 {
		e := events[0]
		events = events[1:]
		time.Sleep(time.Until(s.began.Add(e.at)))
		e.do()
	}
	s.booting.Wait()
}

// patience is how long the death of a coordinator may go unnoticed by its nodes: 2 s where packets come as they should. Where beats
// were late or lost, a node is patient for up to five seconds and two beats.
func (s *chaosSwarm) patience() time.Duration {
	if s.plan.rough {
		return 5500 * time.Millisecond
	}
	return 2 * time.Second
}

// checkDead looks for sessions of a client that is dead.
func (s *chaosSwarm) checkDead(host int) {
	id := s.clients[host-len(s.nodes)].c.host.ID().String()
	for _, n := range s.nodes {
		if l := n.process(); l != nil {
			if left := streams(l.node.Host(), id, sessionProtocols...); len(left) > 0 {
				s.t.Errorf("seed %d: host %d has %v of host %d %s after its death", s.plan.seed, n.index, left, host, s.patience())
			}
		}
	}
}

// settle waits until everything has had its time to end, and checks that it has.
func (s *chaosSwarm) settle() {
	time.Sleep(s.patience())
	for _, n := range s.nodes {
		// A link may wait for the Open of its session, which never comes: for five seconds.
		if left := n.leftovers(); left != "" {
			s.t.Errorf("seed %d: host %d is left with %s", s.plan.seed, n.index, left)
		}
	}
	time.Sleep(linger)
	for _, n := range s.nodes {
		if l := n.process(); l != nil {
			// Of a connection that is lost to the other end alone, the beats that came on it are waited for until it times out.
			if left := streams(l.node.Host(), "", p2p.LinkProtocol); len(left) > 0 {
				s.t.Errorf("seed %d: host %d still has %v", s.plan.seed, n.index, left)
			}
		}
	}
	for _, stack := range chaosGoroutines(ofSessions) {
		s.t.Errorf("seed %d: a goroutine is left:\n%s", s.plan.seed, stack)
	}
}

// linger is how long package p2p watches a peer after its last session, and a beat.
const linger = 10*time.Second + 500*time.Millisecond

// stop ends everything, and checks that it has an end.
func (s *chaosSwarm) stop() {
	for _, c := range s.clients {
		if c.c != nil && c.died.IsZero() {
			if err := c.c.Close(); err != nil {
				s.t.Errorf("seed %d: host %d: %v", s.plan.seed, c.index, err)
			}
		}
		c.die()
	}
	for _, n := range s.nodes {
		n.mu.Lock()
		if n.life != nil {
			n.life.cancel()
		}
		n.mu.Unlock()
	}
	s.running.Wait()
	for _, n := range s.nodes {
		if l := n.life; l != nil && !l.killed && l.err != nil {
			s.t.Errorf("seed %d: host %d: %v", s.plan.seed, n.index, l.err)
		}
	}
	s.net.Close()
	time.Sleep(time.Minute) // timers that are left
	for _, g := range chaosGoroutines(notOfTest) {
		s.t.Errorf("seed %d: a goroutine is left:\n%s", s.plan.seed, g)
	}
}
