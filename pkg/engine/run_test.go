// SPDX-License-Identifier: MIT

package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// sleep is Config.Sleep in a synctest bubble: fake time.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// virtual gives steps a cost in fake time: 10 ms and one more for each row.
func virtual(c *engine.Config) {
	c.StepCost = func(rows int) time.Duration { return time.Duration(10+rows) * time.Millisecond }
	c.Sleep = sleep
}

func token(id byte, epoch protocol.Epoch, step uint32) *protocol.Step {
	return &protocol.Step{Session: protocol.SessionID{id}, Epoch: epoch, Step: step, Position: step, Tokens: []protocol.TokenID{protocol.TokenID(step % testVocab)}}
}

// bubble runs f in fake time with an engine over all layers. The model is loaded outside: it computes inline.
func bubble(t *testing.T, change func(*engine.Config), f func(t *testing.T, m *layers.Model, e *engine.Engine)) {
	t.Helper()
	m := loadModel(t, ranges()[0], 1)
	synctest.Test(t, func(t *testing.T) { f(t, m, start(t, m, change)) })
}

// results returns a deliver function that hands results to f and drops the error that ends a session with its engine.
func results(f func(*protocol.IntermediateResult)) func(protocol.Frame) error {
	return func(frame protocol.Frame) error {
		if r, ok := frame.(*protocol.IntermediateResult); ok {
			f(clone(r).(*protocol.IntermediateResult))
		}
		return nil
	}
}

func open(t *testing.T, e *engine.Engine, m *layers.Model, id byte, deliver func(protocol.Frame) error) *engine.Session {
	t.Helper()
	s, _, err := e.Open(testPeer, openFrame(m, id, protocol.F32, ranges(), 0, testContext), deliver)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A network that takes nothing stops the session after a bounded number of inputs, and no other session.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	bubble(t, func(c *engine.Config) { c.Queue = 3 }, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		taken := make(chan *protocol.IntermediateResult)
		s := open(t, e, m, 1, results(func(r *protocol.IntermediateResult) { taken <- r }))
		accepted := 0
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			for i := uint32(0); ; i++ {
				if err := s.Submit(ctx, token(1, 0, i)); err != nil {
					ended <- err
					return
				}
				accepted++
			}
		}()
		synctest.Wait()
		// Two outputs that nobody takes, and three inputs in the queue.
		if accepted != 5 || e.Stats().Steps != 2 {
			t.Errorf("%d inputs accepted and %d steps computed, want 5 and 2", accepted, e.Stats().Steps)
		}
		<-taken
		synctest.Wait()
		if accepted != 6 || e.Stats().Steps != 3 {
			t.Errorf("after one output was taken: %d inputs accepted and %d steps computed, want 6 and 3", accepted, e.Stats().Steps)
		}
		other := make(chan *protocol.IntermediateResult, 1)
		o := open(t, e, m, 2, results(func(r *protocol.IntermediateResult) { other <- r }))
		if err := o.Submit(t.Context(), token(2, 0, 0)); err != nil {
			t.Fatal(err)
		}
		<-other

		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Submit returned %v when its context ended", err)
		}
		// Everything accepted comes out in order.
		for i := uint32(1); i < 6; i++ {
			if r := <-taken; r.Step != i {
				t.Errorf("step %d came out, want %d", r.Step, i)
			}
		}
		// Close unblocks Submit as well.
		for i := uint32(6); i < 11; i++ {
			if err := s.Submit(t.Context(), token(1, 0, i)); err != nil {
				t.Fatal(err)
			}
		}
		go func() { ended <- s.Submit(t.Context(), token(1, 0, 11)) }()
		synctest.Wait()
		s.Close()
		wantCode(t, <-ended, protocol.CodeSessionNotFound, "has ended")
		<-taken // the deliver call under way
	})
}

// Close while a step runs: the slot is free at once, the memory right after the step, and nothing is delivered.
func TestCloseWhileRunning(t *testing.T) {
	t.Parallel()
	bubble(t, virtual, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		s := open(t, e, m, 1, func(f protocol.Frame) error {
			t.Errorf("delivered %T after Close", f)
			return nil
		})
		for i := range uint32(2) {
			if err := s.Submit(t.Context(), token(1, 0, i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		s.Close()
		<-s.Done()
		if st := e.Stats(); st.Sessions != 0 || st.KVUsed == 0 {
			t.Errorf("while the step runs: %d sessions, %d bytes", st.Sessions, st.KVUsed)
		}
		time.Sleep(11 * time.Millisecond)
		synctest.Wait()
		if st := e.Stats(); st.KVUsed != 0 || st.Steps != 1 {
			t.Errorf("after the step: %d bytes, %d steps", st.KVUsed, st.Steps)
		}
	})
}

func TestIdleSessionsExpire(t *testing.T) {
	t.Parallel()
	bubble(t, func(c *engine.Config) { c.Idle = time.Minute }, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		said := make(chan protocol.Frame, 4)
		quiet := open(t, e, m, 1, func(f protocol.Frame) error {
			said <- f
			return nil
		})
		busy := open(t, e, m, 2, discard)
		stuck := open(t, e, m, 3, func(protocol.Frame) error { <-t.Context().Done(); return nil })
		for i := range uint32(4) {
			if err := stuck.Submit(t.Context(), token(3, 0, i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range uint32(20) {
			time.Sleep(5 * time.Second)
			if err := busy.Submit(t.Context(), token(2, 0, i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if st := e.Stats(); st.Sessions != 1 || st.Expired != 2 || st.KVUsed != m.KVBytes(1) {
			t.Errorf("after 100 s: %+v", st)
		}
		select {
		case <-quiet.Done():
			wantCode(t, (<-said).(*protocol.Error), protocol.CodeSessionNotFound, "nothing was heard of the session for 1m0s")
		default:
			t.Error("the quiet session is still open")
		}
		wantCode(t, quiet.Submit(t.Context(), token(1, 0, 0)), protocol.CodeSessionNotFound, "nothing was heard")
	})
}

// The end of Run ends all sessions: what is computed is delivered, then the reason.
func TestStop(t *testing.T) {
	t.Parallel()
	m := loadModel(t, ranges()[0], 1)
	synctest.Test(t, func(t *testing.T) {
		cfg := engine.Config{Model: m, ModelID: testID, Peer: "test-peer"}
		virtual(&cfg)
		e, err := engine.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- e.Run(ctx) }()
		var said []protocol.Frame
		s := open(t, e, m, 1, func(f protocol.Frame) error {
			time.Sleep(time.Second) // a slow network, within the grace
			said = append(said, clone(f))
			return nil
		})
		for i := range uint32(3) {
			if err := s.Submit(t.Context(), token(1, 0, i)); err != nil {
				t.Fatal(err)
			}
		}
		hanging := make(chan struct{})
		h := open(t, e, m, 2, func(protocol.Frame) error { <-hanging; return nil })
		time.Sleep(500 * time.Millisecond) // two outputs are there, the third input waits for a slot
		begin := time.Now()
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("Run returned %v", err)
		}
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("Run took %s to end, want its grace of 2s", d)
		}
		close(hanging)
		<-h.Done()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(said) != 3 {
			t.Fatalf("%d frames delivered, want two results and an error", len(said))
		}
		wantCode(t, said[2].(*protocol.Error), protocol.CodeDraining, "the node stops")
		_, _, err = e.Open(testPeer, openFrame(m, 3, protocol.F32, ranges(), 0, 1), discard)
		wantCode(t, err, protocol.CodeDraining, "leaving")
	})
}

// A session whose output cannot be delivered (the next hop died) computes nothing more, but keeps its rows for the
// epoch of a new route.
func TestDeliverError(t *testing.T) {
	t.Parallel()
	bubble(t, virtual, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		calls := 0
		s := open(t, e, m, 1, func(protocol.Frame) error { calls++; return errors.New("stream reset") })
		for i := range uint32(5) {
			if err := s.Submit(t.Context(), token(1, 0, i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		// The second step was under way when the first one's output failed.
		if st := e.Stats(); calls != 1 || st.Steps != 2 || st.Sessions != 1 {
			t.Errorf("%d deliver calls, %+v", calls, st)
		}
		for range 10 { // more than the queue holds: refused, not blocked
			wantCode(t, s.Submit(t.Context(), token(1, 0, 5)), protocol.CodeUnreachable, "higher epoch")
		}
		o := openFrame(m, 1, protocol.F32, ranges(), 0, testContext)
		o.Epoch = 1
		out := make(chan *protocol.IntermediateResult, 1)
		again, opened, err := e.Open(testPeer, o, results(func(r *protocol.IntermediateResult) { out <- r }))
		if err != nil || opened.CachedTo != 2 {
			t.Fatalf("reopened %+v, %v: want the 2 rows computed", opened, err)
		}
		next := token(1, 1, 0)
		next.Position = 2
		if err := again.Submit(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if r := <-out; r.Position != 2 || r.Epoch != 1 {
			t.Errorf("the new epoch answered %+v", r)
		}
	})
}

// What a hop says of its time, in fake time: exact figures.
func TestTimings(t *testing.T) {
	t.Parallel()
	bubble(t, virtual, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		out := make(chan *protocol.IntermediateResult, 4)
		s := open(t, e, m, 1, results(func(r *protocol.IntermediateResult) { out <- r }))
		if err := s.Submit(t.Context(), &protocol.Step{Session: protocol.SessionID{1}, Tokens: prompt}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		next := token(1, 0, 1)
		next.Position = uint32(len(prompt))
		if err := s.Submit(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		ms := uint64(time.Millisecond)
		for i, want := range []protocol.HopTiming{
			{Layers: ranges()[0], Rows: uint32(len(prompt)), Processing: 30 * ms},
			{Layers: ranges()[0], Rows: 1, Processing: 11 * ms, Queue: 30 * ms},
		} {
			r := <-out
			if len(r.Hops) != 1 || r.Hops[0] != want {
				t.Errorf("step %d: timings %+v, want %+v", i, r.Hops, want)
			}
			if r.Digest != protocol.Digest(r) {
				t.Errorf("step %d: the digest is not the output's", i)
			}
		}
		if st := e.Stats(); st.MeanStep != 11*time.Millisecond || st.Steps != 2 || st.Rows != uint64(len(prompt))+1 {
			t.Errorf("stats %+v", st)
		}
	})
}

// A job that fails ends its session with the reason, and no other of the pass.
func TestFailedPass(t *testing.T) {
	t.Parallel()
	m := loadModel(t, protocol.LayerRange{From: 1, To: 3}, 1)
	synctest.Test(t, func(t *testing.T) {
		e := start(t, m, virtual)
		rs := ranges(1, 3)
		said := make(chan protocol.Frame, 1)
		s, _, err := e.Open(testPeer, openFrame(m, 1, protocol.F32, rs, 1, 8), func(f protocol.Frame) error { said <- f; return nil })
		if err != nil {
			t.Fatal(err)
		}
		answers := make(chan *protocol.IntermediateResult, 2)
		other, _, err := e.Open(testPeer, openFrame(m, 2, protocol.F32, rs, 1, 8), results(func(r *protocol.IntermediateResult) { answers <- r }))
		if err != nil {
			t.Fatal(err)
		}
		row := &protocol.IntermediateResult{Session: protocol.SessionID{2}, Tokens: []protocol.TokenID{1}, DType: protocol.F32, Hidden: make([]byte, testHidden*4)}
		for i := range uint32(2) {
			row.Step, row.Position = i, i
			if err := other.Submit(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the first row's pass is under way; the second waits for it
		}
		s.QueueBroken()
		failure := (<-said).(*protocol.Error)
		wantCode(t, failure, protocol.CodeInternal, "hidden states")
		if failure.Step != 7 || failure.Layers != rs[1] {
			t.Errorf("the error is about step %d of layers %s", failure.Step, failure.Layers)
		}
		<-s.Done()
		for i := range uint32(2) {
			if r := <-answers; r.Step != i {
				t.Errorf("the other session answered step %d, want %d", r.Step, i)
			}
		}
		synctest.Wait()
		if st := e.Stats(); st.Sessions != 1 || st.KVUsed != m.KVBytes(8) || st.Steps != 2 || st.Passes != 2 {
			t.Errorf("after the failure: %+v", st)
		}
	})
}
