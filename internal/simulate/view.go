// SPDX-License-Identifier: MIT

package simulate

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// state is what a node answers from a moment on.
type state struct {
	from              time.Duration
	layers            protocol.LayerRange
	draining, loading bool
	sessions          int
	step              time.Duration // of one row through all layers; 0: none yet
	status            *protocol.Status
}

// maxAge is how long a node's past answers are kept: as long as somebody may have them.
const maxAge = discovery.NodeTTL + 2*discovery.RefreshLooked

// tell notes what the node answers from now on.
func (n *node) tell() {
	s := state{from: n.w.now, layers: n.layers, draining: n.draining || n.about, loading: !n.serving, sessions: len(n.seats), step: n.step}
	for len(n.told) > 1 && n.told[1].from < n.w.now-maxAge {
		n.told = slices.Delete(n.told, 0, 1)
	}
	if last := len(n.told) - 1; last >= 0 && n.told[last].from == s.from {
		n.told[last] = s
		return
	}
	n.told = append(n.told, s)
}

// answer is what the node answered at a time, nil if nothing.
func (n *node) answer(at time.Duration) *state {
	if n.gone && at >= n.end {
		return nil
	}
	for i := len(n.told) - 1; i >= 0; i-- {
		if n.told[i].from <= at {
			return &n.told[i]
		}
	}
	return nil
}

// viewer is somebody who looks at the swarm.
type viewer struct {
	w      *world
	key    uint64 // where in the ring it begins
	site   *site
	joined time.Duration
	eager  int // waits for something: asks and looks more often
}

// paces are the pauses between questions to a node, and between two looks for new ones.
func (v *viewer) paces() (ask, look time.Duration) {
	if v.eager > 0 {
		return discovery.RefreshWaiting, discovery.LookupWaiting
	}
	return discovery.RefreshLooked, discovery.LookupLooked
}

// asked returns the last time at which v has an answer of n, and whether it has one. Questions are not simulated one by one: v asks at
// regular times, of its own for each node, and a node that is new at the next lookup after it has told of itself. Who does not answer is
// given up when the question has had its time.
func (v *viewer) asked(n *node) (time.Duration, bool) {
	ask, look := v.paces()
	rtt := 2 * oneWay(v.site, n.site)
	h := mix(v.key ^ n.key)
	found := max(v.joined, n.appeared+tellTime)
	if n.appeared+tellTime > v.joined { // else its first lookup finds it
		found = next(found, look, v.key)
	}
	found += lookupTime
	at := previous(v.w.now-rtt, ask, h)
	if n.gone && at >= n.end {
		if v.w.now >= at+discovery.AskTimeout {
			return 0, false
		}
		at -= ask
	}
	if at < found {
		at = found
	}
	return at, at <= v.w.now-rtt && n.answer(at) != nil
}

const (
	// tellTime is how long a node takes to put its records where others look.
	tellTime = time.Second
	// lookupTime is how long a lookup takes to name a node.
	lookupTime = 300 * time.Millisecond
)

// previous is the last of the times that lie a period apart, not after t.
func previous(t, period time.Duration, phase uint64) time.Duration {
	p := time.Duration(phase % uint64(period))
	return t - ((t-p)%period+period)%period
}

// next is the first of them, not before t.
func next(t, period time.Duration, phase uint64) time.Duration {
	return previous(t+period-1, period, phase)
}

// known calls see for the nodes that v knows, with what each answered when; at most as many as anybody keeps.
func (v *viewer) known(see func(n *node, at time.Duration, s *state)) {
	ring := v.w.ring
	first, _ := slices.BinarySearchFunc(ring, v.key, func(n *node, key uint64) int {
		if n.key < key {
			return -1
		}
		return 1
	})
	count := 0
	for i := range ring {
		n := ring[(first+i)%len(ring)]
		if n.key == v.key {
			continue
		}
		at, ok := v.asked(n)
		if !ok {
			continue
		}
		see(n, at, n.answer(at))
		if count++; count == discovery.MaxKnown {
			return
		}
	}
}
