// SPDX-License-Identifier: MIT

package engine

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// simWorld is a network of nodes and coordinators with a clock of its own. Everything happens in one goroutine, in an order that the
// seed decides.
type simWorld struct {
	rng   *rand.Rand
	now   time.Duration
	queue simQueue
	seq   int

	layers  int
	nodes   []*simNode
	cuts    map[[2]string]bool       // pairs of peers between which nothing passes
	deaf    map[string]time.Duration // when a peer last came back from a freeze or a cut
	streams []*simStream
	latency time.Duration
	chaos   simChaos

	stale, duplicates int      // frames that were dropped
	moved             int      // hops that took rows over
	problem           string   // the first thing that must not happen, "" if nothing has
	log               []string // what happened, for a failing schedule
}

// simChaos is how much goes wrong on streams themselves, per frame. QUIC keeps frames of a stream in order and loses none; a broken or hostile
// peer need not.
type simChaos struct {
	lose, twice float64
	old         float64 // a frame comes again later, in whatever life the route has then
	forged      float64 // a frame of an older life comes first, which says anything
}

type simEvent struct {
	at  time.Duration
	seq int
	do  func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(e any)   { *q = append(*q, e.(simEvent)) }
func (q *simQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// after does something later.
func (w *simWorld) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, simEvent{at: w.now + max(d, 0), seq: w.seq, do: do})
}

// run lets time pass until nothing is left to do or limit is reached.
func (w *simWorld) run(limit time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= limit {
		e := heap.Pop(&w.queue).(simEvent)
		w.now = e.at
		e.do()
	}
	w.now = max(w.now, limit)
}

// clock is the time as the state machines see it.
func (w *simWorld) clock() time.Time { return time.Unix(0, int64(w.now)) }

func (w *simWorld) logf(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%9.3fs ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

// wrong notes what must not happen.
func (w *simWorld) wrong(format string, args ...any) {
	if w.problem == "" {
		w.problem = fmt.Sprintf(format, args...)
		w.logf("WRONG: %s", w.problem)
	}
}

func (w *simWorld) story() string {
	log := w.log[max(0, len(w.log)-250):]
	return strings.Join(log, "\n")
}

// between is a random duration.
func (w *simWorld) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

func (w *simWorld) chance(p float64) bool { return w.rng.Float64() < p }

func (w *simWorld) cut(a, b string) bool { return w.cuts[[2]string{a, b}] || w.cuts[[2]string{b, a}] }

// simHost is what streams end at: a node's incarnation or a coordinator.
type simHost interface {
	peerID() string
	up() bool     // its process exists
	frozen() bool // it does nothing, but its machine answers for it
}

// simStream is one end of a stream.
type simStream struct {
	w           *simWorld
	here, there simHost
	twin        *simStream
	open        bool
	arrives     time.Duration // when the last frame sent arrives
	under       [][]byte      // frames under way, in order: they do not overtake each other
	received    func(protocol.Frame)
	failed      func(error)
	leaves      func()   // told by a node that drains
	held        []func() // what came while this end was frozen
}

// newStream connects two hosts.
func (w *simWorld) newStream(a, b simHost) (*simStream, *simStream) {
	s, t := &simStream{w: w, here: a, there: b, open: true}, &simStream{w: w, here: b, there: a, open: true}
	s.twin, t.twin = t, s
	if len(w.streams) > 200 {
		w.streams = slices.DeleteFunc(w.streams, func(s *simStream) bool { return !s.open })
	}
	w.streams = append(w.streams, s, t)
	return s, t
}

// send encodes f and delivers it at the other end. Frames wait while nothing passes between the two.
func (s *simStream) send(f protocol.Frame) {
	if !s.open || !s.here.up() {
		return
	}
	body, err := protocol.AppendBody(nil, f)
	if err != nil {
		panic(fmt.Sprintf("%s sends what cannot be encoded: %v", s.here.peerID(), err))
	}
	w := s.w
	chaos := w.chaos
	switch f.(type) {
	case *protocol.Step, *protocol.IntermediateResult, *protocol.Resume:
	default:
		chaos = simChaos{} // what opens a session is said once or not at all
	}
	if w.chance(chaos.lose) {
		w.logf("a %T from %s to %s gets lost", f, s.here.peerID(), s.there.peerID())
		return
	}
	s.carry(body)
	if w.chance(chaos.twice) {
		w.after(w.between(0, 3*w.latency), func() { s.carry(body) })
	}
}

// carry puts a frame on its way.
func (s *simStream) carry(body []byte) {
	w := s.w
	s.under = append(s.under, body)
	s.arrives = max(s.arrives, w.now+w.between(w.latency/2, w.latency*3/2))
	w.after(s.arrives-w.now, s.arrive)
}

// arrive delivers the first frame under way.
func (s *simStream) arrive() {
	w, t := s.w, s.twin
	if !t.open || !t.here.up() {
		return
	}
	if w.cut(s.here.peerID(), t.here.peerID()) {
		w.after(50*time.Millisecond, s.arrive) // sent again and again
		return
	}
	body := s.under[0]
	s.under = s.under[1:]
	t.deliver(func() {
		f, err := protocol.Decode(body)
		if err != nil {
			panic(err)
		}
		if t.received != nil {
			t.received(f)
		}
	})
}

// deliver does something at this end now, or when it wakes up.
func (s *simStream) deliver(do func()) {
	if s.here.frozen() {
		s.held = append(s.held, do)
		s.w.after(20*time.Millisecond, s.wake)
		return
	}
	if len(s.held) > 0 {
		s.held = append(s.held, do)
		return
	}
	if s.open {
		do()
	}
}

func (s *simStream) wake() {
	if len(s.held) == 0 {
		return
	}
	if s.here.frozen() {
		s.w.after(20*time.Millisecond, s.wake)
		return
	}
	held := s.held
	s.held = nil
	for _, do := range held {
		if s.open && s.here.up() {
			do()
		}
	}
}

// close ends the stream; the other end hears of it.
func (s *simStream) close(why error) {
	if !s.open {
		return
	}
	s.open = false
	s.tell(why)
}

// tell lets the other end know that this one is closed.
func (s *simStream) tell(why error) {
	w, t := s.w, s.twin
	var tell func()
	tell = func() {
		switch {
		case !t.open || !t.here.up():
		case w.cut(s.here.peerID(), t.here.peerID()):
			w.after(50*time.Millisecond, tell)
		default:
			t.deliver(func() { t.fail(why) })
		}
	}
	s.arrives = max(s.arrives, w.now+w.latency)
	w.after(s.arrives-w.now, tell)
}

// fail breaks this end.
func (s *simStream) fail(why error) {
	if !s.open {
		return
	}
	s.open = false
	if s.failed != nil {
		s.failed(why)
	}
}

// suspect makes everybody who has streams to a host notice, each after a while, that it does not answer, if that still holds then.
func (w *simWorld) suspect(host simHost, least, most time.Duration, holds func(by simHost) bool) {
	for _, s := range slices.Clone(w.streams) {
		if !s.open || s.there != host {
			continue
		}
		var notice func()
		notice = func() {
			switch {
			case !s.open || !s.here.up() || !holds(s.here):
			case s.here.frozen():
				w.after(100*time.Millisecond, notice)
			default:
				s.fail(lostPeerError(host.peerID()))
				s.tell(errSimEnded)
			}
		}
		w.after(w.between(least, most), notice)
	}
}
