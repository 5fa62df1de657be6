// SPDX-License-Identifier: MIT

package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// A hop is replaced in the middle of a generation: the others keep their rows until they are told to forget them, the
// new one is fed from the start, and the result is that of an undisturbed generation.
func TestReplacedHop(t *testing.T) {
	t.Parallel()
	want := reference(t)
	rs := ranges(1, 3)
	nodes := nodesFor(t, 1, rs)
	c := openChain(t, nodes, 1, protocol.F32, rs, positions, sampling)
	g := new(generation)
	c.prefill(g, 6)

	before := slices.Clone(c.sessions)
	nodes[1] = nodesFor(t, 1, rs[1:2])[0]
	c.epoch, c.step = 5, 0
	n := uint32(len(prompt))
	if cached := c.open(nodes, protocol.F32, rs, positions, sampling); !slices.Equal(cached, []uint32{n, 0, n}) {
		t.Fatalf("hops have %v rows, want %d, 0 and %d", cached, n, n)
	}
	// The old epoch's handles take anything without a word, and closing one does not touch the new epoch.
	if err := before[0].Submit(t.Context(), &protocol.Step{Session: c.id, Step: 99, Tokens: prompt}); err != nil {
		t.Errorf("a frame of the old epoch: %v", err)
	}
	before[2].Close()
	// The new session drops frames of the old epoch too.
	if err := c.sessions[0].Submit(t.Context(), &protocol.Step{Session: c.id, Epoch: 4, Step: 0, Tokens: prompt}); err != nil {
		t.Errorf("a frame of the old epoch on the new stream: %v", err)
	}
	if s := nodes[0].Stats(); s.Stale != 2 || s.Sessions != 1 {
		t.Errorf("%d stale frames and %d sessions, want 2 and 1", s.Stale, s.Sessions)
	}

	// The replacement has no rows, so its order starts at 0; the coordinator tells the others to go back.
	for _, i := range []int{0, 2} {
		err := c.sessions[i].Submit(t.Context(), &protocol.Truncate{Session: c.id, Epoch: c.epoch, Step: 0})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.sessions[1].Submit(t.Context(), &protocol.Truncate{Session: c.id, Epoch: c.epoch, Step: 0}); err != nil {
		t.Fatal(err)
	}
	<-c.out // the last hop's echo of the truncate
	c.step, c.position = 1, 0
	again := new(generation)
	last := c.prefill(again, 20)
	for len(c.out) > 0 {
		t.Fatalf("unexpected %T", <-c.out)
	}
	c.decode(again, last)
	compare(t, again, want)
}

// The rows stay only where they mean the same: layers, wire and room. Otherwise the reservation is made anew.
func TestReopenKeepsRowsOnlyIfTheyFit(t *testing.T) {
	t.Parallel()
	m := loadModel(t, protocol.LayerRange{From: 0, To: 3}, 1)
	for _, c := range []struct {
		name   string
		change func(*protocol.Open)
		kept   uint32
		code   protocol.Code
	}{
		{"the same", func(*protocol.Open) {}, 4, 0},
		{"fewer positions, enough", func(o *protocol.Open) { o.Positions = 5 }, 4, 0},
		{"fewer positions than rows", func(o *protocol.Open) { o.Positions = 3 }, 3, 0},
		{"more positions", func(o *protocol.Open) { o.Positions = 12 }, 0, 0},
		{"other layers", func(o *protocol.Open) { o.Route[0].Layers.To = 2; o.Route[1].Layers.From = 2 }, 0, 0},
		{"other wire", func(o *protocol.Open) { o.Wire, o.Numerics = protocol.F16, m.Numerics(protocol.F16) }, 0, 0},
		{"other ends", func(o *protocol.Open) { o.Numerics += protocol.LocalEnds }, 0, 0},
		{"same epoch", func(o *protocol.Open) { o.Epoch = 1 }, 0, protocol.CodeStaleEpoch},
	} {
		t.Run(c.name, func(t *testing.T) { // one after the other: they share the model
			e := start(t, m, func(cfg *engine.Config) { cfg.KVBudget, cfg.MaxSessions = m.KVBytes(20), 1 })
			rs := ranges(3)
			o := openFrame(m, 1, protocol.F32, rs, 0, 10)
			o.Epoch = 1
			out := make(chan protocol.Frame, 4)
			deliver := func(f protocol.Frame) error { out <- clone(f); return nil }
			s, _, err := e.Open(testPeer, o, deliver)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Submit(t.Context(), &protocol.Step{Session: o.Session, Epoch: 1, Tokens: prompt[:4]}); err != nil {
				t.Fatal(err)
			}
			<-out
			next := openFrame(m, 1, protocol.F32, rs, 0, 10)
			next.Epoch = 2
			c.change(next)
			s2, opened, err := e.Open(testPeer, next, deliver)
			if c.code != 0 {
				wantCode(t, err, c.code, "")
				// The refused epoch leaves the old one as it was.
				if err := s.Submit(t.Context(), &protocol.Step{Session: o.Session, Epoch: 1, Step: 1, Position: 4, Tokens: prompt[:1]}); err != nil {
					t.Fatal(err)
				}
				if r := (<-out).(*protocol.IntermediateResult); r.Position != 4 {
					t.Errorf("the old epoch answered %+v", r)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if opened.CachedTo != c.kept {
				t.Errorf("%d rows kept, want %d", opened.CachedTo, c.kept)
			}
			if st := e.Stats(); st.Sessions != 1 || st.KVUsed != int64(opened.KVBytes) {
				t.Errorf("%+v with %d bytes reserved", st, opened.KVBytes)
			}
			// It goes on from there, as far as there is room.
			if room := next.Positions - c.kept; room > 0 {
				var in protocol.Frame = &protocol.Step{Session: o.Session, Epoch: 2, Position: c.kept, Tokens: prompt[:1]}
				if next.LocalEnds() {
					in = &protocol.IntermediateResult{Session: o.Session, Epoch: 2, Tokens: []protocol.TokenID{0}, DType: protocol.F32, Hidden: make([]byte, 4*testHidden)}
				}
				if err := s2.Submit(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				if r, ok := (<-out).(*protocol.IntermediateResult); !ok || r.Epoch != 2 || r.Position != c.kept {
					t.Errorf("the new epoch answered %+v", r)
				}
			}
			s2.Close()
			if st := e.Stats(); st.KVUsed != 0 {
				t.Errorf("%d bytes are left", st.KVUsed)
			}
		})
	}
}

// The epoch changes while a step of the old one runs: that step's rows do not count, its output is not delivered, and
// the new epoch continues from the rows it was promised, with the same results as if the step had never been.
func TestReplacedWhileRunning(t *testing.T) {
	t.Parallel()
	bubble(t, virtual, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		run := func(id byte, disturb bool) []byte {
			out := make(chan *protocol.IntermediateResult, 4)
			deliver := results(func(r *protocol.IntermediateResult) { out <- r })
			o := openFrame(m, id, protocol.F32, ranges(), 0, 30)
			session, _, err := e.Open(testPeer, o, deliver)
			if err != nil {
				t.Fatal(err)
			}
			submit := func(f *protocol.Step) {
				f.Session = o.Session
				if err := session.Submit(t.Context(), f); err != nil {
					t.Fatal(err)
				}
			}
			submit(&protocol.Step{Tokens: prompt[:6]})
			<-out
			if disturb {
				submit(&protocol.Step{Step: 1, Position: 6, Tokens: prompt[10:15]})
				submit(&protocol.Step{Step: 2, Position: 11, Tokens: prompt[10:15]})
				synctest.Wait() // step 1 is under way, step 2 waits
			}
			o.Epoch = 1
			var opened *protocol.Opened
			if session, opened, err = e.Open(testPeer, o, deliver); err != nil || opened.CachedTo != 6 {
				t.Fatalf("reopened %+v, %v", opened, err)
			}
			submit(&protocol.Step{Epoch: 1, Position: 6, Tokens: prompt[6:8], Logits: []uint32{0, 1}, Sample: true})
			r := <-out
			if r.Epoch != 1 || r.Position != 6 || len(r.Generated) != 1 {
				t.Fatalf("the new epoch answered %+v", r)
			}
			time.Sleep(time.Second)
			if len(out) != 0 {
				t.Errorf("the old epoch's step was delivered: %+v", <-out)
			}
			return r.LogitRows
		}
		if quiet, disturbed := run(1, false), run(2, true); !slices.Equal(quiet, disturbed) {
			t.Error("a step of the old epoch left traces in the new one")
		}
	})
}

// A session that took the rows over from one whose step is still under way is closed before that step ends: the loop goes on to use
// them, and frees them afterwards, once.
func TestClosedWhileAStepOfTheOldEpochRuns(t *testing.T) {
	t.Parallel()
	for name, rs := range map[string][]protocol.LayerRange{"with outputs": ranges(2), "with a history": ranges()} {
		t.Run(name, func(t *testing.T) {
			bubble(t, virtual, func(t *testing.T, m *layers.Model, e *engine.Engine) {
				o := openFrame(m, 1, protocol.F32, rs, 0, 30)
				s, opened, err := e.Open(testPeer, o, discard)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Submit(t.Context(), &protocol.Step{Session: o.Session, Tokens: prompt[:6]}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the step is under way
				o.Epoch = 1
				if s, _, err = e.Open(testPeer, o, discard); err != nil {
					t.Fatal(err)
				}
				s.Close()
				if st := e.Stats(); st.KVUsed != int64(opened.KVBytes) {
					t.Errorf("%d bytes of KV memory while the step runs, want %d", st.KVUsed, opened.KVBytes)
				}
				time.Sleep(time.Second)
				if st := e.Stats(); st.Sessions != 0 || st.KVUsed != 0 || st.KeptUsed != 0 {
					t.Errorf("%+v are left", st)
				}
			})
		})
	}
}

// Closing or replacing a session while its truncate runs must not promise rows that are gone.
func TestReplacedWhileTruncating(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		for i := range 200 { // the schedule of loop and Open varies
			o := openFrame(m, 1, protocol.F32, ranges(), 0, 30)
			s, _, err := e.Open(testPeer, o, discard)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Submit(t.Context(), &protocol.Step{Session: o.Session, Tokens: prompt}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if err := s.Submit(t.Context(), &protocol.Truncate{Session: o.Session, Step: 1, Position: 3}); err != nil {
				t.Fatal(err)
			}
			o.Epoch = 1
			out := make(chan *protocol.IntermediateResult, 1)
			s, opened, err := e.Open(testPeer, o, results(func(r *protocol.IntermediateResult) { out <- r }))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Submit(t.Context(), &protocol.Step{Session: o.Session, Epoch: 1, Position: opened.CachedTo, Tokens: prompt[:1]}); err != nil {
				t.Fatal(err)
			}
			if r := <-out; r.Position != opened.CachedTo || r.Epoch != 1 {
				t.Fatalf("round %d: %+v after %d rows were promised", i, r, opened.CachedTo)
			}
			s.Close()
		}
	})
}
