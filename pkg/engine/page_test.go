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

// long is a prompt of so many tokens.
func long(n int) []protocol.TokenID {
	var tokens []protocol.TokenID
	for i := range n {
		tokens = append(tokens, protocol.TokenID((i*i+7*i)%testVocab))
	}
	return tokens
}

// A session takes KV memory as it grows, a page at a time, and not for what it may come to.
func TestPagesComeWithRows(t *testing.T) {
	t.Parallel()
	m := loadModel(t, ranges()[0], 1)
	e := start(t, m, nil)
	c := openChain(t, []node{{e, m}}, 1, protocol.F32, ranges(), testContext, sampling)
	used := func(pages int64) {
		t.Helper()
		if st := e.Stats(); st.KVUsed != pages*m.PageBytes() {
			t.Errorf("%d rows take %d bytes, want %d pages of %d", c.position, st.KVUsed, pages, m.PageBytes())
		}
	}
	used(1)
	send := func(n int) {
		t.Helper()
		c.send(long(n), nil, false)
		c.recv()
	}
	send(layers.PageRows)
	used(1)
	send(1)
	used(2)
	send(testContext - layers.PageRows - 1)
	used(3)
	c.sessions[0].Close()
	if st := e.Stats(); st.KVUsed != 0 {
		t.Errorf("%d bytes are left", st.KVUsed)
	}
}

// A node is full when each session that is open could not go on by a page any more.
func TestBusyBeforeFull(t *testing.T) {
	t.Parallel()
	m := loadModel(t, ranges()[0], 1)
	e := start(t, m, func(c *engine.Config) { c.KVBudget = 5 * m.PageBytes() })
	for id := byte(1); id <= 3; id++ {
		open(t, e, m, id, discard)
	}
	_, _, err := e.Open(testPeer, openFrame(m, 4, protocol.F32, ranges(), 0, testContext), discard)
	wantCode(t, err, protocol.CodeBusy, "are free: choose another node or try later")
}

// When KV memory runs out, the session that came last must go, and those before it go on to their end with the results they have alone.
func TestLastGoesWhenMemoryIsFull(t *testing.T) {
	t.Parallel()
	generate := func(c *chain) (tokens []protocol.TokenID, failed *protocol.Error) {
		c.send(long(100), nil, true)
		for range 180 {
			f := <-c.out
			r, ok := f.(*protocol.IntermediateResult)
			if !ok {
				return tokens, f.(*protocol.Error)
			}
			tokens = append(tokens, r.Generated...)
			if c.sessions[0].Submit(t.Context(), &protocol.Step{Session: c.id, Step: c.step, Position: c.position, Tokens: r.Generated, Sample: true}) != nil {
				f := <-c.out
				for f.FrameType() != protocol.TypeError {
					f = <-c.out
				}
				return tokens, f.(*protocol.Error)
			}
			c.step++
			c.position++
		}
		return tokens, nil
	}
	want, _ := generate(openChain(t, nodesFor(t, 1, ranges()), 1, protocol.F32, ranges(), testContext, sampling))
	bubble(t, func(c *engine.Config) { virtual(c); c.KVBudget = 7 * c.Model.PageBytes() }, func(t *testing.T, m *layers.Model, e *engine.Engine) {
		var got [4][]protocol.TokenID
		var ended [4]*protocol.Error
		for i := range got {
			c := openChain(t, []node{{e, m}}, byte(i+1), protocol.F32, ranges(), testContext, sampling)
			go func() { got[i], ended[i] = generate(c) }()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i := range 2 {
			if !slices.Equal(got[i], want) {
				t.Errorf("session %d, one of the first: %d tokens, %v; want %d", i, len(got[i]), ended[i], len(want))
			}
		}
		lost := 0
		for i := 2; i < 4; i++ {
			if ended[i] != nil {
				lost++
				wantCode(t, ended[i], protocol.CodeBusy, "others were here before")
			}
			if n := len(got[i]); !slices.Equal(got[i], want[:n]) {
				t.Errorf("session %d: other tokens", i)
			}
		}
		if ended[3] == nil || lost > 2 {
			t.Errorf("the last session was not the first to go: %v", ended)
		}
	})
}
