// SPDX-License-Identifier: MIT

package p2p

import "time"

// How silence is judged; docs/adr/007-signs-of-life.md has the reasons.
const (
	// beatEvery is the pause between two beats.
	beatEvery = 250 * time.Millisecond

	// silenceLeast on top of the usual round trip is what a scheduler, a collection, or a lost packet and its
	// retransmission take on a machine that is alive.
	silenceLeast = 650 * time.Millisecond
	// silenceMost keeps a peer that was slow once from being trusted for long when it dies.
	silenceMost = 5 * time.Second
	// silenceFirst is the deadline while nothing is known of the round-trip time.
	silenceFirst = 1500 * time.Millisecond

	// attention is what counts at the most between two looks at the clock.
	attention = beatEvery + beatEvery/4

	// beatsOut bounds the beats without answer of a peer that lives by other signs.
	beatsOut = 2 * int(silenceMost/beatEvery)

	// worstFor is how long the worst round trip is remembered at least; twice that at the most.
	worstFor = time.Minute
)

// silence judges from the answers to beats whether one peer has gone silent. It is told the time, reads no clock, sends
// nothing, and is not safe for concurrent use. Begin with [silence.start].
//
// All durations are counted on a clock of attention, on which at most [attention] passes between two calls: while this
// process did not run, or ran late, nobody can have failed to answer it.
type silence struct {
	now   time.Time     // of the last call
	clock time.Duration // attention paid until then
	heard time.Time     // last sign of life, or the start
	alive time.Duration // clock then
	late  bool          // more than attention had passed at the last look
	grace time.Duration // clock before which nobody is silent: an answer may have come while we slept

	sent []sentBeat    // without answer, oldest first; at most beatsOut
	next uint64        // number of the next beat
	due  time.Duration // clock at which it is to be sent

	known      bool // mean and deviation are: from the transport, until there is a sample
	sampled    bool
	least      time.Duration // of the deadline, whatever was measured
	mean, dev  time.Duration
	worst      time.Duration // greatest round trip since turned
	worstOld   time.Duration // and in the worstFor before
	worstSince time.Duration // clock
}

type sentBeat struct {
	number uint64
	at     time.Duration // clock
}

// start begins the watch: the first beat is due.
func (s *silence) start(now time.Time) {
	*s = silence{now: now, heard: now, next: 1}
}

// seed tells the round-trip time and its mean deviation as the transport has measured them. They stand in for the answers to beats until
// the first has come; a time that is not positive says nothing.
func (s *silence) seed(mean, dev time.Duration) {
	if !s.sampled && mean > 0 {
		s.known, s.mean, s.dev = true, mean, max(dev, 0)
	}
}

// attend lets the clock follow now.
func (s *silence) attend(now time.Time) {
	gap := now.Sub(s.now)
	if gap <= 0 {
		return
	}
	s.now = now
	s.clock += min(gap, attention)
	late := gap > attention
	if late && !s.late {
		s.grace = s.clock + beatEvery
	}
	s.late = late
}

// tick returns the number of the beat to send now, 0 if none is due, and whether the peer is silent.
func (s *silence) tick(now time.Time) (beat uint64, silent bool) {
	s.attend(now)
	if s.expires() <= s.clock {
		return 0, true
	}
	if s.due > s.clock {
		return 0, false
	}
	s.due = s.clock + beatEvery
	if len(s.sent) == beatsOut {
		return 0, false
	}
	beat = s.next
	s.next++
	s.sent = append(s.sent, sentBeat{beat, s.clock})
	return beat, false
}

// wake is when tick is to be called again at the latest.
func (s *silence) wake() time.Time { return s.now.Add(min(s.due, s.expires()) - s.clock) }

// expires is the clock at which the peer is silent if nothing is heard of it before.
func (s *silence) expires() time.Duration {
	if len(s.sent) == 0 {
		return 1<<63 - 1
	}
	return max(max(s.sent[0].at, s.alive)+s.deadline(), s.grace)
}

// deadline is how long an answer may take.
func (s *silence) deadline() time.Duration {
	if !s.known {
		return silenceFirst
	}
	return min(max(s.least, s.mean+max(4*s.dev, silenceLeast), 3*max(s.worst, s.worstOld)), silenceMost)
}

// answer takes a beat that came back. A number that is not out changes nothing.
func (s *silence) answer(now time.Time, number uint64) {
	s.attend(now)
	for i, b := range s.sent {
		if b.number == number {
			s.sample(s.clock - b.at)
			s.sent = s.sent[:copy(s.sent, s.sent[i+1:])]
			s.live(now)
			return
		}
	}
}

// hear takes another sign of life.
func (s *silence) hear(now time.Time) {
	s.attend(now)
	s.live(now)
}

func (s *silence) live(now time.Time) { s.heard, s.alive = now, s.clock }

// forget drops the beats that are out, when they can no longer be answered; what is known of the peer stays.
func (s *silence) forget(now time.Time) {
	s.attend(now)
	s.sent = s.sent[:0]
}

// sample learns from a round trip.
func (s *silence) sample(rtt time.Duration) {
	if s.clock-s.worstSince >= worstFor {
		s.worstOld, s.worst, s.worstSince = s.worst, 0, s.clock
	}
	s.worst = max(s.worst, rtt)
	if !s.sampled {
		s.known, s.sampled, s.mean, s.dev = true, true, rtt, rtt/2
		return
	}
	s.dev += ((rtt - s.mean).Abs() - s.dev) / 4
	s.mean += (rtt - s.mean) / 8
}
