// SPDX-License-Identifier: MIT

package placement

import (
	"fmt"
	"time"
)

// Outcome is how an attempt to use a node ended.
type Outcome uint8

// The outcomes.
const (
	OutcomeOK     Outcome = iota // it served
	OutcomeBusy                  // it had no room, or is about to leave: another one now, this one soon
	OutcomeFailed                // it failed, was lost or did not get on
	OutcomeUnfit                 // it will not serve us, now or later: other numerics, not admitted, nonsense
)

// String returns the outcome's name in logs.
func (o Outcome) String() string { return [...]string{"ok", "busy", "failed", "unfit"}[o] }

// Standing says whether a node may be used, by what it did lately.
type Standing uint8

// The standings.
const (
	StandingOK       Standing = iota
	StandingDoubtful          // it failed lately and has answered since: only where there is no other
	StandingBusy              // it had no room a moment ago
	StandingCooldown          // it failed and has not answered since, or it failed again when it was tried
	StandingBanned
)

// How long outcomes are held against a node. A node that fails again and again is avoided for longer each time.
const (
	busyTime     = 2 * time.Second
	cooldown     = 15 * time.Second
	cooldownMost = 5 * time.Minute
	banTime      = 10 * time.Minute

	// retryLeast is how long a node is left alone that failed a second time in a row, though it says that it is there; twice as
	// long after each further time.
	retryLeast = time.Second
)

// maxHistory bounds the peers remembered. Those whose time is over are forgotten first.
const maxHistory = 1024

// History remembers how nodes behaved, and for how long to avoid them. The zero value knows nothing. It reads no clock and is not safe
// for concurrent use.
type History struct {
	peers map[string]record
}

type record struct {
	outcome  Outcome
	at       time.Time
	until    time.Time
	retry    time.Time // of a node that failed: not before
	failures int       // in a row
}

// Note records how an attempt to use a peer ended that began at a time, when its session was opened there for the first time. Attempts
// that had begun before a failure that is known, and fail as well, tell of the same one: a node that dies takes many sessions along, and
// is not worse than one that took a single one.
func (h *History) Note(now time.Time, peer string, o Outcome, began time.Time) {
	if o == OutcomeOK {
		delete(h.peers, peer)
		return
	}
	if h.peers == nil {
		h.peers = map[string]record{}
	}
	old := h.peers[peer]
	if o == OutcomeFailed && old.outcome == OutcomeFailed && !began.After(old.at) {
		return
	}
	r := record{outcome: o, at: now, failures: old.failures}
	switch o {
	case OutcomeBusy:
		r.until = now.Add(busyTime)
	case OutcomeFailed:
		r.until = now.Add(min(cooldown<<min(r.failures, 8), cooldownMost))
		if r.failures > 0 {
			r.retry = now.Add(min(retryLeast<<min(r.failures-1, 8), cooldownMost))
		}
		r.failures++
	case OutcomeUnfit:
		r.until = now.Add(banTime)
	}
	if _, known := h.peers[peer]; !known && len(h.peers) >= maxHistory {
		h.forgetOne()
	}
	h.peers[peer] = r
}

// forgetOne makes room by forgetting the record that ends first.
func (h *History) forgetOne() {
	var first string
	for peer, r := range h.peers {
		if f, ok := h.peers[first]; !ok || r.until.Before(f.until) {
			first = peer
		}
	}
	delete(h.peers, first)
}

// Standing returns a peer's standing now, and when it ends. answered is when it was asked for the status that is known of it.
func (h *History) Standing(now time.Time, peer string, answered time.Time) (Standing, time.Time) {
	r, ok := h.peers[peer]
	switch {
	case !ok || !now.Before(r.until) && r.outcome != OutcomeFailed:
		return StandingOK, time.Time{}
	case r.outcome == OutcomeUnfit:
		return StandingBanned, r.until
	case r.outcome == OutcomeBusy:
		return StandingBusy, r.until
	case !answered.After(r.at):
		return StandingCooldown, r.until // what is known of it is older than its failure
	case now.Before(r.retry):
		return StandingCooldown, r.retry
	case now.Before(r.until):
		return StandingDoubtful, r.until
	}
	return StandingOK, time.Time{}
}

// Judge sets the standing of candidates.
func (h *History) Judge(now time.Time, cands []Candidate) {
	for i := range cands {
		c := &cands[i]
		c.Standing, c.Until = h.Standing(now, c.Peer, c.Asked)
	}
}

// reason says why a node of bad standing is not used; "" for one that may be.
func (s Standing) reason(until time.Time) string {
	switch s {
	case StandingBusy:
		return reasonBusy
	case StandingCooldown:
		return "failed lately"
	case StandingBanned:
		return fmt.Sprintf("banned until %s", until.Format(time.TimeOnly))
	}
	return ""
}
