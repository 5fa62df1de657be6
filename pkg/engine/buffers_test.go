// SPDX-License-Identifier: MIT

package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// rowsOf is an input of four tokens, which costs twice its output of hidden states: 1 KiB.
func rowsOf(id byte, step uint32) *protocol.Step {
	return &protocol.Step{Session: protocol.SessionID{id}, Step: step, Position: 4 * step, Tokens: []protocol.TokenID{1, 2, 3, 4}}
}

const rowsCost = 2 * 4 * testHidden * 4

// Sessions whose outputs are not taken hold no more memory than the budget, and give it back however they end.
func TestBufferBudget(t *testing.T) {
	t.Parallel()
	rs := ranges(2)
	for name, end := range map[string]func(*engine.Session, chan error){
		"the network takes outputs": func(_ *engine.Session, taken chan error) { close(taken) },
		"the network breaks":        func(_ *engine.Session, taken chan error) { taken <- errors.New("no route") },
		"the session is closed":     func(s *engine.Session, taken chan error) { s.Close(); close(taken) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := loadModel(t, rs[0], 1)
			synctest.Test(t, func(t *testing.T) {
				e := start(t, m, func(c *engine.Config) { c.Queue, c.BufferBudget = 8, 3*rowsCost+1 })
				hop := func(id byte, deliver func(protocol.Frame) error) *engine.Session {
					s, _, err := e.Open(testPeer, openFrame(m, id, protocol.F32, rs, 0, testContext), deliver)
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
				taken := make(chan error)
				stuck := hop(1, func(protocol.Frame) error { return <-taken })
				for i := range uint32(3) {
					if err := stuck.Submit(t.Context(), rowsOf(1, i)); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if got := e.Stats().Buffered; got != 3*rowsCost {
					t.Fatalf("three inputs on their way take %d bytes, want %d", got, 3*rowsCost)
				}

				// No session gets more; who waits can give up, and what it had not taken is not missing.
				given := 0
				other := hop(2, func(protocol.Frame) error { given++; return nil })
				ctx, cancel := context.WithCancel(t.Context())
				waited := make(chan error)
				go func() { waited <- other.Submit(ctx, rowsOf(2, 0)) }()
				synctest.Wait()
				cancel()
				if err := <-waited; !errors.Is(err, context.Canceled) || e.Stats().Buffered != 3*rowsCost {
					t.Fatalf("a wait that was given up: %v, %d bytes", err, e.Stats().Buffered)
				}
				go func() { waited <- other.Submit(t.Context(), rowsOf(2, 0)) }()
				synctest.Wait()
				if given != 0 || e.Stats().Buffered != 3*rowsCost {
					t.Fatalf("%d outputs, %d bytes beyond the budget", given, e.Stats().Buffered)
				}
				end(stuck, taken)
				if err := <-waited; err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if given != 1 || e.Stats().Buffered != 0 {
					t.Errorf("%d outputs came, %d bytes are left", given, e.Stats().Buffered)
				}

				// An input larger than the budget goes through alone; frames that are dropped or refused leave nothing.
				large := &protocol.Step{Session: protocol.SessionID{2}, Step: 1, Position: 4, Tokens: make([]protocol.TokenID, 20)}
				if err := other.Submit(t.Context(), large); err != nil {
					t.Fatal(err)
				}
				if err := other.Submit(t.Context(), large); err != nil { // again: dropped
					t.Fatal(err)
				}
				bad := rowsOf(2, 2)
				bad.Position, bad.Tokens = 24, []protocol.TokenID{testVocab}
				if err := other.Submit(t.Context(), bad); err == nil {
					t.Error("a token outside the vocabulary was taken")
				}
				synctest.Wait()
				if given != 2 || e.Stats().Buffered != 0 {
					t.Errorf("%d outputs came, %d bytes are left", given, e.Stats().Buffered)
				}
				other.Close()
				stuck.Close()
			})
		})
	}
}
