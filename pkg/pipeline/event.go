// SPDX-License-Identifier: MIT

package pipeline

import (
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Event is something that happened to a generation. Hops are places in the route of the event's epoch.
type Event interface{ isEvent() }

// EventStart begins the generation: open every hop.
type EventStart struct{}

// EventOpened says that hop Hop has reserved the session.
type EventOpened struct {
	Epoch    protocol.Epoch
	Hop      int
	CachedTo int // rows it has already
	KeptTo   int // rows whose outputs it can send again
}

// EventResult brings a step's result from hop Hop: the last hop's answer, or on the relay path any hop's output.
type EventResult struct {
	Hop    int
	Result *protocol.IntermediateResult
}

// EventResumed brings a resume from hop Hop, as [EventResult] does a result.
type EventResumed struct {
	Hop    int
	Resume *protocol.Resume
}

// EventFailed says that the stream to hop Hop failed or could not be opened, or, if Told, that the hop sent an error on it.
type EventFailed struct {
	Epoch protocol.Epoch
	Hop   int
	Told  bool
	Err   error
}

// EventLeaving says that hop Hop's node is about to leave, and for how long it stays.
type EventLeaving struct {
	Epoch protocol.Epoch
	Hop   int
	Grace time.Duration
}

// EventProbed answers [EffectProbe] for one hop. Err is nil if the node answers.
type EventProbed struct {
	Epoch protocol.Epoch
	Hop   int
	Err   error
}

// EventPlaced answers [EffectPlace] with a route.
type EventPlaced struct {
	Attempt int
	Route   []protocol.Hop
}

// EventUnplaced says why no route can be found for [EffectPlace] now, each time the reason changes. Final says that waiting
// does not help.
type EventUnplaced struct {
	Attempt int
	Err     error
	Final   bool
}

// EventCancel ends the generation on the user's wish.
type EventCancel struct{ Err error }

// EventTick lets time pass: deadlines are checked.
type EventTick struct{}

func (EventStart) isEvent()    {}
func (EventOpened) isEvent()   {}
func (EventResult) isEvent()   {}
func (EventResumed) isEvent()  {}
func (EventFailed) isEvent()   {}
func (EventLeaving) isEvent()  {}
func (EventProbed) isEvent()   {}
func (EventPlaced) isEvent()   {}
func (EventUnplaced) isEvent() {}
func (EventCancel) isEvent()   {}
func (EventTick) isEvent()     {}

// Effect is something the driver has to do. Effects are done in order.
type Effect interface{ isEffect() }

// EffectOpen asks to open the session at every hop of the epoch's route, all at once. Streams of older epochs stay open, and so do
// opens under way: closing one would free rows that the new epoch wants.
type EffectOpen struct{ Epoch protocol.Epoch }

// EffectRelease asks to close all streams of epochs before Epoch.
type EffectRelease struct{ Epoch protocol.Epoch }

// EffectSend asks to send a frame to hop Hop of the current epoch.
type EffectSend struct {
	Hop   int
	Frame protocol.Frame
}

// EffectProbe asks whether the nodes of these hops answer at all. It disturbs no session.
type EffectProbe struct {
	Epoch protocol.Epoch
	Hops  []int
}

// EffectPlace asks for a route without the hops that were lost. It takes the place of an earlier one that is not answered yet.
type EffectPlace struct {
	Attempt int
	Repair  Repair
}

// Repair says which hops of a route have to be placed anew. The others have rows of the session's KV cache: where they stay, they
// need not compute them again.
type Repair struct {
	Route     []protocol.Hop
	Positions int // rows of KV cache a hop needs
	Lost      []LostHop
}

// LostHop is a hop that a generation can no longer use, or will not be able to before long.
type LostHop struct {
	Hop     int // place in the route, from 0
	Err     error
	Leaving bool // its node said that it will leave; it serves until then
}

// EffectEmit hands a generated token to the user.
type EffectEmit struct {
	Token    protocol.TokenID
	Logprobs []protocol.Logprob // if asked for: [protocol.IntermediateResult].Logprobs
}

// EffectLogits hands logits to the user: rows of [vocab] float32, little-endian, for the positions.
type EffectLogits struct {
	Positions []int
	Rows      []byte
}

// EffectShards says that a step has passed all hops; [PipelineState.Report] is up to date.
type EffectShards struct{ Hops []protocol.HopTiming }

// EffectNotice tells the user what happens to the route.
type EffectNotice struct{ Notice Notice }

// EffectClose asks to close the session at every hop, of all epochs. It is the last effect of a generation.
type EffectClose struct{}

func (EffectOpen) isEffect()    {}
func (EffectRelease) isEffect() {}
func (EffectSend) isEffect()    {}
func (EffectProbe) isEffect()   {}
func (EffectPlace) isEffect()   {}
func (EffectEmit) isEffect()    {}
func (EffectLogits) isEffect()  {}
func (EffectShards) isEffect()  {}
func (EffectNotice) isEffect()  {}
func (EffectClose) isEffect()   {}
