// SPDX-License-Identifier: MIT

package pipeline

import (
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Notice is news about a generation's route: one of the types below.
type Notice interface{ isNotice() }

// NoticeLost says that a hop was lost, or that its node will leave.
type NoticeLost struct {
	Hop      protocol.Hop
	Shard    int // its place in the route, from 1
	Shards   int
	Phase    Phase
	Position int           // rows answered until then
	Silence  time.Duration // since the last sign of the route
	Err      error
	Leaving  bool
}

// NoticeReopen says that the route is opened again as it is, to get the hops in step.
type NoticeReopen struct {
	Phase   Phase
	Silence time.Duration
	Err     error
}

// NoticeWaiting says why lost layers cannot be placed now.
type NoticeWaiting struct {
	Layers []protocol.LayerRange // lost, in order
	Left   time.Duration         // until the generation fails for it; 0: it does not
	Err    error
}

// NoticeLate says that a step takes longer than steps did, and that all nodes answer: slow, not dead.
type NoticeLate struct{ Silence time.Duration }

// NoticeRecovered says that the generation goes on.
type NoticeRecovered struct{ Recovery *Recovery }

func (NoticeLost) isNotice()      {}
func (NoticeReopen) isNotice()    {}
func (NoticeWaiting) isNotice()   {}
func (NoticeLate) isNotice()      {}
func (NoticeRecovered) isNotice() {}

// Recovery is one interruption of a generation: hops that were lost, and what was done.
type Recovery struct {
	Phase    Phase
	Position int // rows answered when it began
	Lost     []NoticeLost
	New      []protocol.Hop // hops that came in; none if the route is the same
	Replayed int            // positions fed again, before the first new answer
	Epochs   int            // routes tried
	Took     time.Duration  // from noticing the first loss to the first new answer
}
