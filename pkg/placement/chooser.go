// SPDX-License-Identifier: MIT

package placement

import (
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// When a node that chooses its layers looks and speaks.
const (
	// LookQuiet is how long nothing new must come before a node believes to have seen the swarm, LookMost how long it looks at the most.
	LookQuiet = time.Second
	LookMost  = 5 * time.Second
	// ClaimTime is how long a node tells what it is about to load before it does: others are asked every two seconds while one waits.
	ClaimTime = 3 * time.Second
	// ReviewEvery is the pause between two looks at whether to move.
	ReviewEvery = time.Minute
	// NoticeTime is how long a node tells that it will move before it does. Others look at it every ten seconds.
	NoticeTime = 20 * time.Second

	// maxClaims bounds how often a node gives way to others that come at the same time.
	maxClaims = 16
)

// Member is a node of the model as another one sees it.
type Member struct {
	Holder
	Peer     string
	Draining bool // as good as gone
	Loading  bool // it does not serve Layers yet
}

// Chooser decides which layers one node serves: which first, and when it moves. Whoever runs it shows it the others, waits and does what it
// says. It reads no clock and is not safe for concurrent use.
type Chooser struct {
	Peer    string // the node's own
	NLayers int
	Speed   float64                        // layers a second, as it tells others; 0: not known
	Fits    func(protocol.LayerRange) bool // see [Place]

	claim  protocol.LayerRange
	claims int
	wish   protocol.LayerRange // of the last review; empty: to stay
}

// Choice is what [Chooser.Claim] found.
type Choice struct {
	Layers  protocol.LayerRange // empty: none fit
	Gaps    int                 // of them, served by nobody
	Others  int                 // nodes seen
	Settled bool                // load them now
}

// Claim chooses the first range of a node. Unless it is settled, tell others of it (loading), wait [ClaimTime] and ask again: of nodes that
// come at the same time those with lower peer IDs go first, and the others look again.
func (c *Chooser) Claim(members []Member) Choice {
	if c.claims == maxClaims {
		return Choice{Layers: c.claim, Settled: true}
	}
	others := c.holders(members, true)
	r, gaps := Place(c.NLayers, others, c.Fits)
	ch := Choice{Layers: r, Gaps: gaps, Others: len(others), Settled: c.claims > 0 && r == c.claim}
	c.claim = r
	c.claims++
	return ch
}

// Verdict is what [Chooser.Review] says.
type Verdict uint8

// The verdicts.
const (
	Stay       Verdict = iota
	LookAgain          // a move seems worth it: it is made if the next review says so too
	GiveNotice         // tell others (draining), wait [NoticeTime], then ask [Chooser.Confirm]
)

// Review says whether a node that serves mine should move, where, and how much the worst served layer gains. A move has to be worth it in
// two reviews, and nobody moves while another node does.
func (c *Chooser) Review(members []Member, mine protocol.LayerRange) (wish protocol.LayerRange, gain float64, v Verdict) {
	before := c.wish
	c.wish = protocol.LayerRange{}
	wish, gain, ok := c.better(members, mine)
	switch {
	case !ok || c.moves(members, false):
		return wish, gain, Stay
	case wish != before:
		c.wish = wish
		return wish, gain, LookAgain
	}
	return wish, gain, GiveNotice
}

// Confirm looks once more, after the notice: stays says why not to move to wish, "" to move.
func (c *Chooser) Confirm(members []Member, mine, wish protocol.LayerRange) (gain float64, stays string) {
	again, gain, ok := c.better(members, mine)
	switch {
	case !ok || again != wish:
		return 0, "the other layers no longer need this node more"
	case c.moves(members, true):
		return 0, "another node moves"
	}
	return gain, ""
}

func (c *Chooser) better(members []Member, mine protocol.LayerRange) (protocol.LayerRange, float64, bool) {
	return Better(c.NLayers, c.holders(members, false), Holder{Layers: mine, Speed: c.Speed}, c.Fits)
}

// holders are the others that serve; with rivals also those that load and come before this node.
func (c *Chooser) holders(members []Member, rivals bool) []Holder {
	out := make([]Holder, 0, len(members)+1)
	for i := range members {
		m := &members[i]
		if m.Peer == c.Peer || m.Draining || m.Loading && (!rivals || m.Peer > c.Peer) {
			continue
		}
		out = append(out, m.Holder)
	}
	return out
}

// moves reports whether another node drains or loads: before limits it to those that go before this one.
func (c *Chooser) moves(members []Member, before bool) bool {
	for i := range members {
		m := &members[i]
		if m.Peer != c.Peer && (m.Draining || m.Loading) && (!before || m.Peer < c.Peer) {
			return true
		}
	}
	return false
}
