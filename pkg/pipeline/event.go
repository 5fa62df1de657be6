// SPDX-License-Identifier: MIT

package pipeline

import "github.com/shardnode/shardnode/pkg/protocol"

// Event is something that happened to a generation.
type Event interface{ isEvent() }

// EventStart begins the generation: open every hop.
type EventStart struct{}

// EventOpened says that hop Hop has reserved the session.
type EventOpened struct{ Hop int }

// EventResult brings a frame from hop Hop: the last hop's answer, or on the relay path any hop's output.
type EventResult struct {
	Hop    int
	Result *protocol.IntermediateResult
}

// EventFailed says that hop Hop refused, failed or was lost.
type EventFailed struct {
	Hop int
	Err error
}

// EventCancel ends the generation on the user's wish.
type EventCancel struct{ Err error }

// EventTick lets time pass: deadlines are checked.
type EventTick struct{}

func (EventStart) isEvent()  {}
func (EventOpened) isEvent() {}
func (EventResult) isEvent() {}
func (EventFailed) isEvent() {}
func (EventCancel) isEvent() {}
func (EventTick) isEvent()   {}

// Effect is something the driver has to do. Effects are done in order.
type Effect interface{ isEffect() }

// EffectOpen asks to open the session at every hop, all at once.
type EffectOpen struct{}

// EffectSend asks to send a frame to hop Hop.
type EffectSend struct {
	Hop   int
	Frame protocol.Frame
}

// EffectEmit hands a generated token to the user.
type EffectEmit struct{ Token protocol.TokenID }

// EffectLogits hands logits to the user: rows of [vocab] float32, little-endian, for positions From, From+1, ….
type EffectLogits struct {
	Positions []int
	Rows      []byte
}

// EffectShards says that a step has passed all hops; [PipelineState.Report] is up to date.
type EffectShards struct{ Hops []protocol.HopTiming }

// EffectClose asks to close the session at every hop. It is the last effect of a generation.
type EffectClose struct{}

func (EffectOpen) isEffect()   {}
func (EffectSend) isEffect()   {}
func (EffectEmit) isEffect()   {}
func (EffectLogits) isEffect() {}
func (EffectShards) isEffect() {}
func (EffectClose) isEffect()  {}
