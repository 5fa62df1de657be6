// SPDX-License-Identifier: MIT

package pipeline

import (
	"context"
	"math"
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

// Dialer is a coordinator's way to nodes.
type Dialer interface {
	// OpenHop opens a session at one hop and returns when the hop has reserved it (or refused: a *protocol.Error).
	OpenHop(ctx context.Context, hop protocol.Hop, open *protocol.Open) (Stream, *protocol.Opened, error)

	// Probe returns nil if the hop's node answers a question that needs no session.
	Probe(ctx context.Context, hop protocol.Hop) error

	// Place returns a route without the hops that are lost, as soon as there is one. While there is none it calls waiting with the
	// reason, from its own goroutine, each time that changes. An error of its own says that waiting does not help.
	Place(ctx context.Context, r Repair, waiting func(error)) ([]protocol.Hop, error)
}

// Observer sees a generation as it goes. Nil functions are skipped. All are called from one goroutine, the driver's.
type Observer struct {
	Opened func(report *Report)   // every hop has reserved the session
	Token  func(protocol.TokenID) // as it comes

	// Logprobs comes before the token it is of, if the request asks: the token's own, then those of the likeliest others. They are
	// valid until it returns.
	Logprobs func([]protocol.Logprob)

	Logits func(positions []int, rows []byte) // [len(positions)][vocab] float32, little-endian
	Step   func(hops []protocol.HopTiming)    // a step has passed all hops
	Notice func(Notice)                       // what happens to the route
	Trace  func(*StepTrace)                   // where the time of a step went whose rows were answered for the first time. Nil: nothing is measured for it
}

// Generate runs one generation to its end: it opens the session at every hop, drives the state, and closes the session
// everywhere before it returns, also on error and when ctx ends. The report is never nil once the hops were tried.
func Generate(ctx context.Context, d Dialer, cfg Config, req protocol.InferenceRequest, obs Observer) (*PipelineState, error) {
	state, err := New(cfg, req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	g := &generation{state: state, dialer: d, obs: obs, events: make(chan Event), done: make(chan struct{})}
	if obs.Trace != nil {
		g.tracer = &tracer{emit: obs.Trace, begun: time.Now()}
	}
	g.run(ctx)
	close(g.done)
	cancel(context.Canceled)
	g.workers.Wait()
	return state, state.Err()
}

// generation is the driver of one PipelineState.
type generation struct {
	state  *PipelineState
	dialer Dialer
	obs    Observer

	events  chan Event    // from openers, readers and the rest to run
	done    chan struct{} // closed when run no longer reads events
	workers sync.WaitGroup
	tracer  *tracer // nil: not wanted. Owned by run

	// Owned by run.
	arrived     time.Time          // when the frame came whose event is applied; only with a tracer
	lives       []*life            // epochs whose streams are not released, oldest first; the last is the current one
	stopPlacing context.CancelFunc // ends the placement under way; nil: there was none
}

// life is an epoch's streams.
type life struct {
	epoch   protocol.Epoch
	streams []Stream // [hops]; nil: not open
}

// opened is the driver's own event: a hop's stream is there.
type opened struct {
	EventOpened
	stream Stream
}

// received is the driver's own event: a frame that is the reader's again once taken is signalled.
type received struct {
	Event
	at    time.Time // when it was there; only with a tracer
	taken chan<- struct{}
}

func (g *generation) run(ctx context.Context) {
	deadline := time.NewTimer(time.Hour)
	defer deadline.Stop()
	ctx, stop := context.WithCancel(ctx)
	defer stop() // what is being opened, placed or probed
	g.apply(ctx, EventStart{})
	for !g.state.Ended() {
		deadline.Reset(time.Until(g.state.Deadline()))
		select {
		case event := <-g.events:
			switch e := event.(type) {
			case opened:
				g.open(ctx, e)
			case received:
				g.arrived = e.at
				g.apply(ctx, e.Event)
				e.taken <- struct{}{}
			default:
				g.apply(ctx, e)
			}
		case <-deadline.C:
			g.apply(ctx, EventTick{})
		case <-ctx.Done():
			g.apply(ctx, EventCancel{Err: context.Cause(ctx)})
		}
	}
}

// apply gives the state an event and carries out the effects, in order. A send that fails becomes an event of its own, in place of
// the effects that were to follow: they were meant for a whole route.
func (g *generation) apply(ctx context.Context, event Event) {
	answered := g.state.answered
	effects := g.state.Apply(time.Now(), event)
	if r, ok := event.(EventResult); ok && g.tracer != nil && r.Hop == len(g.state.route)-1 {
		defer g.tracer.answer(r.Result, g.arrived, g.state.answered > answered, g.state)
	}
	for len(effects) > 0 {
		e := effects[0]
		effects = effects[1:]
		if send, ok := e.(EffectSend); ok {
			if err := g.sendTo(send.Hop, send.Frame); err != nil {
				effects = g.state.Apply(time.Now(), EventFailed{Epoch: g.state.Epoch(), Hop: send.Hop, Err: err})
			}
			continue
		}
		g.do(ctx, e)
	}
	if g.obs.Opened != nil && g.state.Phase() == PhasePrefill {
		g.obs.Opened(g.state.Report())
		g.obs.Opened = nil
	}
}

func (g *generation) sendTo(hop int, f protocol.Frame) error {
	if g.tracer == nil {
		return g.current().streams[hop].Send(f)
	}
	began := time.Now()
	err := g.current().streams[hop].Send(f)
	g.tracer.send(f, g.arrived, began, time.Now())
	return err
}

// do carries out an effect that cannot fail.
func (g *generation) do(ctx context.Context, effect Effect) {
	switch e := effect.(type) {
	case EffectOpen:
		g.lives = append(g.lives, &life{epoch: e.Epoch, streams: make([]Stream, len(g.state.Route()))})
		for hop := range g.state.Route() {
			g.dial(ctx, hop)
		}
	case EffectRelease:
		for len(g.lives) > 0 && g.lives[0].epoch < e.Epoch {
			g.lives[0].close()
			g.lives = g.lives[1:]
		}
	case EffectProbe:
		for _, hop := range e.Hops {
			g.probe(ctx, e.Epoch, hop)
		}
	case EffectPlace:
		g.place(ctx, e)
	case EffectEmit:
		if g.obs.Logprobs != nil && len(e.Logprobs) > 0 {
			g.obs.Logprobs(e.Logprobs)
		}
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
	case EffectNotice:
		if g.obs.Notice != nil {
			g.obs.Notice(e.Notice)
		}
	case EffectClose:
		for _, l := range g.lives {
			l.close()
		}
	}
}

func (g *generation) current() *life { return g.lives[len(g.lives)-1] }

// close ends the session at every hop of the epoch, all at once.
func (l *life) close() {
	var wg sync.WaitGroup
	for _, s := range l.streams {
		if s != nil {
			wg.Go(s.Close)
		}
	}
	wg.Wait()
}

// dial opens a hop of the current epoch and sends the result as an event.
func (g *generation) dial(ctx context.Context, hop int) {
	frame := g.state.OpenFrame(hop)
	g.workers.Go(func() {
		stream, o, err := g.dialer.OpenHop(ctx, frame.Route[hop], frame)
		if err != nil {
			g.send(EventFailed{Epoch: frame.Epoch, Hop: hop, Err: err})
			return
		}
		e := EventOpened{Epoch: frame.Epoch, Hop: hop, CachedTo: int(o.CachedTo), KeptTo: int(o.KeptTo)}
		if !g.send(opened{e, stream}) {
			stream.Close() // the generation ended while this hop opened
		}
	})
}

// open takes a stream that was opened, unless its epoch was released meanwhile.
func (g *generation) open(ctx context.Context, e opened) {
	for _, l := range g.lives {
		if l.epoch == e.Epoch {
			l.streams[e.Hop] = e.stream
			g.read(e.Epoch, e.Hop, e.stream)
			g.apply(ctx, e.EventOpened)
			return
		}
	}
	e.stream.Close()
}

// read turns the frames of an open hop into events until the stream ends.
func (g *generation) read(epoch protocol.Epoch, hop int, stream Stream) {
	g.workers.Go(func() {
		taken := make(chan struct{}, 1)
		for {
			frame, err := stream.Recv()
			if err != nil {
				g.send(EventFailed{Epoch: epoch, Hop: hop, Err: err})
				return
			}
			var event Event
			switch f := frame.(type) {
			case *protocol.IntermediateResult:
				event = EventResult{Hop: hop, Result: f}
			case *protocol.Resume:
				event = EventResumed{Hop: hop, Resume: f}
			case *protocol.Leaving:
				event = EventLeaving{Epoch: epoch, Hop: hop, Grace: time.Duration(min(f.Grace, uint64(math.MaxInt64)))}
			case *protocol.Error:
				event = EventFailed{Epoch: epoch, Hop: hop, Told: true, Err: f}
			default:
				event = EventFailed{Epoch: epoch, Hop: hop, Err: protocol.Errorf(protocol.CodeBadFrame, "sent a frame of type %d to the coordinator", frame.FrameType())}
			}
			var at time.Time
			if g.tracer != nil {
				at = time.Now()
			}
			if !g.send(received{event, at, taken}) {
				return
			}
			<-taken
		}
	})
}

// probeTimeout is how long a node may take for a question that it answers at once: far above any round trip, for machines that
// are busy with arithmetic.
const probeTimeout = 2 * time.Second

func (g *generation) probe(ctx context.Context, epoch protocol.Epoch, hop int) {
	target := g.state.Route()[hop]
	g.workers.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		g.send(EventProbed{Epoch: epoch, Hop: hop, Err: g.dialer.Probe(ctx, target)})
	})
}

// place looks for a route, in place of the one looked for before.
func (g *generation) place(ctx context.Context, e EffectPlace) {
	if g.stopPlacing != nil {
		g.stopPlacing()
	}
	ctx, g.stopPlacing = context.WithCancel(ctx)
	g.workers.Go(func() {
		route, err := g.dialer.Place(ctx, e.Repair, func(why error) { g.send(EventUnplaced{Attempt: e.Attempt, Err: why}) })
		if err != nil {
			g.send(EventUnplaced{Attempt: e.Attempt, Err: err, Final: true})
			return
		}
		g.send(EventPlaced{Attempt: e.Attempt, Route: route})
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
