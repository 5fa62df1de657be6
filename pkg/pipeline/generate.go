// SPDX-License-Identifier: MIT

package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Stream is the coordinator's stream to one hop. Send and Recv may be called by different goroutines; a frame returned by Recv is valid until the
// next Recv. Close ends the session at that hop and unblocks Recv.
type Stream interface {
	Send(protocol.Frame) error
	Recv() (protocol.Frame, error)
	Close()
}

// Dialer opens a session at one hop and returns when the hop has reserved it (or refused: a *protocol.Error).
type Dialer interface {
	OpenHop(ctx context.Context, hop protocol.Hop, open *protocol.Open) (Stream, error)
}

// Observer sees a generation as it goes. Nil functions are skipped. All are called from one goroutine, the driver's.
type Observer struct {
	Opened func(report *Report)               // every hop has reserved the session
	Token  func(protocol.TokenID)             // as it comes
	Logits func(positions []int, rows []byte) // [len(positions)][vocab] float32, little-endian
	Step   func(hops []protocol.HopTiming)    // a step has passed all hops
}

// Generate runs one generation to its end: it opens the session at every hop, drives the state, and closes the session
// everywhere before it returns, also on error and when ctx ends. The report is never nil once the hops were tried.
func Generate(ctx context.Context, d Dialer, cfg Config, req protocol.InferenceRequest, obs Observer) (*PipelineState, error) {
	state, err := New(cfg, req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	g := &generation{state: state, dialer: d, obs: obs, streams: make([]Stream, len(cfg.Route)), events: make(chan Event), done: make(chan struct{})}
	g.run(ctx)
	close(g.done)
	cancel(context.Canceled)
	g.readers.Wait()
	return state, state.Err()
}

// generation is the driver of one PipelineState.
type generation struct {
	state  *PipelineState
	dialer Dialer
	obs    Observer

	events  chan Event    // from openers and readers to run
	done    chan struct{} // closed when run no longer reads events
	readers sync.WaitGroup

	streams []Stream // owned by run; nil until that hop is open
}

// opened is the driver's own event: a hop's stream is there.
type opened struct {
	EventOpened
	stream Stream
}

// received is the driver's own event: a result whose frame is the reader's again once taken is signalled.
type received struct {
	EventResult
	taken chan<- struct{}
}

func (g *generation) run(ctx context.Context) {
	deadline := time.NewTimer(time.Hour)
	defer deadline.Stop()
	openCtx, stopOpening := context.WithCancel(ctx)
	defer stopOpening()
	g.do(openCtx, g.state.Apply(time.Now(), EventStart{}))
	for g.state.Phase() != PhaseDone && g.state.Phase() != PhaseFailed {
		var event Event
		deadline.Reset(time.Until(g.state.Deadline()))
		select {
		case event = <-g.events:
		case <-deadline.C:
			event = EventTick{}
		case <-ctx.Done():
			event = EventCancel{Err: context.Cause(ctx)}
		}
		switch e := event.(type) {
		case opened:
			g.streams[e.Hop] = e.stream
			g.read(e.Hop, e.stream)
			g.do(openCtx, g.state.Apply(time.Now(), e.EventOpened))
		case received:
			g.do(openCtx, g.state.Apply(time.Now(), e.EventResult))
			e.taken <- struct{}{}
		default:
			g.do(openCtx, g.state.Apply(time.Now(), event))
		}
	}
}

// do carries out effects in order. A send that fails becomes an event of its own, after the effects at hand.
func (g *generation) do(ctx context.Context, effects []Effect) {
	for i := 0; i < len(effects); i++ {
		switch e := effects[i].(type) {
		case EffectOpen:
			for hop := range g.streams {
				g.open(ctx, hop)
			}
		case EffectSend:
			if err := g.streams[e.Hop].Send(e.Frame); err != nil {
				effects = append(effects[:i+1], g.state.Apply(time.Now(), EventFailed{Hop: e.Hop, Err: err})...)
			}
		case EffectEmit:
			if g.obs.Token != nil {
				g.obs.Token(e.Token)
			}
		case EffectLogits:
			if g.obs.Logits != nil {
				g.obs.Logits(e.Positions, e.Rows)
			}
		case EffectShards:
			if g.obs.Step != nil {
				g.obs.Step(e.Hops)
			}
		case EffectClose:
			g.close()
		}
	}
	if g.obs.Opened != nil && g.state.Phase() == PhasePrefill {
		g.obs.Opened(g.state.Report())
		g.obs.Opened = nil
	}
}

// open dials hop and sends the result as an event.
func (g *generation) open(ctx context.Context, hop int) {
	frame := g.state.OpenFrame(hop)
	g.readers.Go(func() {
		stream, err := g.dialer.OpenHop(ctx, frame.Route[hop], frame)
		if err != nil {
			g.send(EventFailed{Hop: hop, Err: err})
			return
		}
		if !g.send(opened{EventOpened{Hop: hop}, stream}) {
			stream.Close() // the generation ended while this hop opened
		}
	})
}

// read turns the frames of an open hop into events until the stream ends.
func (g *generation) read(hop int, stream Stream) {
	g.readers.Go(func() {
		taken := make(chan struct{}, 1)
		for {
			frame, err := stream.Recv()
			if err == nil {
				switch f := frame.(type) {
				case *protocol.IntermediateResult:
					if !g.send(received{EventResult{Hop: hop, Result: f}, taken}) {
						return
					}
					<-taken
					continue
				case *protocol.Error:
					err = f
				default:
					err = protocol.Errorf(protocol.CodeBadFrame, "sent a frame of type %d to the coordinator", frame.FrameType())
				}
			}
			g.send(EventFailed{Hop: hop, Err: err})
			return
		}
	})
}

// send hands an event to run, false when run has ended.
func (g *generation) send(e Event) bool {
	select {
	case g.events <- e:
		return true
	case <-g.done:
		return false
	}
}

// close ends the session at every hop, all at once.
func (g *generation) close() {
	var wg sync.WaitGroup
	for _, s := range g.streams {
		if s != nil {
			wg.Go(s.Close)
		}
	}
	wg.Wait()
}
