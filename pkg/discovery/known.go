// SPDX-License-Identifier: MIT

package discovery

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// pace says how eagerly to ask.
type pace int

const (
	paceIdle    pace = iota // nobody looks
	paceLooked              // somebody looked lately
	paceWatched             // somebody watches: answers are kept young, sources asked now and then
	paceWaiting             // somebody waits
)

// known is the refresh loop's list of candidates: when to ask whom. It reads no clock and dials nobody.
type known struct {
	self  peer.ID
	peers map[peer.ID]*candidate
}

type candidate struct {
	info     peer.AddrInfo // newest addresses first
	keep     bool          // named by the user: never forgotten
	found    time.Time     // last mentioned or answered
	asked    time.Time     // last question; zero: none yet
	asking   bool
	moved    bool // a new address came up while asking
	up       bool // answered the last question, and not disconnected since
	failures int  // in a row
}

func newKnown(self peer.ID) *known { return &known{self: self, peers: map[peer.ID]*candidate{}} }

// add enters a candidate. A new address of one that is down makes it due at once; add reports whether a question to the
// others is under way and better cut short.
func (k *known) add(now time.Time, info peer.AddrInfo, keep bool) (cut bool) {
	if info.ID == "" || info.ID == k.self {
		return false
	}
	c := k.peers[info.ID]
	if c == nil {
		if len(k.peers) >= MaxKnown && !k.forgetOne() {
			return false
		}
		c = &candidate{info: peer.AddrInfo{ID: info.ID}}
		k.peers[info.ID] = c
	}
	c.keep = c.keep || keep
	c.found = now
	if !c.learn(info.Addrs) || c.up {
		return false
	}
	c.failures, c.moved = 0, c.asking
	if !c.asking {
		c.asked = time.Time{}
	}
	return c.asking
}

// learn puts addresses to the front and reports whether one was new.
func (c *candidate) learn(addrs []multiaddr.Multiaddr) bool {
	merged := make([]multiaddr.Multiaddr, 0, maxAddrs)
	var isNew bool
	for _, a := range addrs {
		if a == nil || multiaddr.Contains(merged, a) || len(merged) == maxAddrs {
			continue
		}
		isNew = isNew || !multiaddr.Contains(c.info.Addrs, a)
		merged = append(merged, a)
	}
	for _, a := range c.info.Addrs {
		if !multiaddr.Contains(merged, a) && len(merged) < maxAddrs {
			merged = append(merged, a)
		}
	}
	c.info.Addrs = merged
	return isNew
}

// forgetOne makes room by forgetting the candidate that is down and was mentioned longest ago.
func (k *known) forgetOne() bool {
	var victim *candidate
	for _, c := range k.peers {
		if !c.keep && !c.up && !c.asking && (victim == nil || c.found.Before(victim.found)) {
			victim = c
		}
	}
	if victim != nil {
		delete(k.peers, victim.info.ID)
	}
	return victim != nil
}

// answered notes the end of a question; addrs are where the peer says it is. It reports whether the outcome counts: a
// failure at addresses that are no longer the last word does not.
func (k *known) answered(now time.Time, id peer.ID, ok bool, addrs []multiaddr.Multiaddr) bool {
	c := k.peers[id]
	if c == nil {
		return false
	}
	moved := c.moved
	c.asking, c.moved, c.up = false, false, ok
	switch {
	case !ok && moved:
		c.asked = time.Time{}
		return false
	case !ok:
		c.failures++
		return true
	}
	c.failures, c.found = 0, now
	c.learn(addrs)
	return true
}

// lost notes that the last connection to a peer has ended.
func (k *known) lost(id peer.ID) {
	if c := k.peers[id]; c != nil {
		c.up = false
	}
}

// ups counts the candidates that are up.
func (k *known) ups() int {
	n := 0
	for _, c := range k.peers {
		if c.up {
			n++
		}
	}
	return n
}

// due returns whom to ask now, those waiting longest first, and when to look again; zero: not before something happens.
// It forgets candidates that have long been silent.
func (k *known) due(now time.Time, p pace) ([]peer.AddrInfo, time.Time) {
	var next time.Time
	var due []*candidate
	asking, ups := 0, k.ups()
	for id, c := range k.peers {
		if c.asking {
			asking++
			continue
		}
		if !c.keep && !c.up && c.failures > 0 && now.Sub(c.found) > forgetAfter {
			delete(k.peers, id)
			continue
		}
		at, wanted := c.next(p, ups)
		switch {
		case !wanted:
		case !at.After(now):
			due = append(due, c)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	slices.SortFunc(due, func(a, b *candidate) int {
		if c := a.asked.Compare(b.asked); c != 0 {
			return c
		}
		return slices.Compare([]byte(a.info.ID), []byte(b.info.ID))
	})
	due = due[:min(len(due), max(0, maxAsking-asking))]
	infos := make([]peer.AddrInfo, len(due))
	for i, c := range due {
		c.asking, c.asked = true, now
		infos[i] = peer.AddrInfo{ID: c.info.ID, Addrs: slices.Clone(c.info.Addrs)}
	}
	return infos, next
}

// next is when the candidate should be asked again, if at all.
func (c *candidate) next(p pace, ups int) (time.Time, bool) {
	switch {
	case c.up && p >= paceWatched:
		return c.asked.Add(RefreshWaiting), true
	case c.up && p == paceLooked:
		return c.asked.Add(RefreshLooked), true
	case c.up:
		return time.Time{}, false
	case p == paceIdle && !c.keep && ups >= enoughPeers:
		return time.Time{}, false
	case c.asked.IsZero():
		return time.Time{}, true
	case c.failures == 0:
		return c.asked.Add(reaskLeast), true
	}
	return c.asked.Add(min(retryFirst<<min(c.failures-1, 16), retryMost)), true
}
