// SPDX-License-Identifier: MIT

package engine_test

import (
	"encoding/binary"
	"testing"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// FuzzSubmit gives a middle hop, or the first one of a session whose ends are the coordinator's, a stream of arbitrary frames. Whatever comes, the engine neither panics nor ends the
// session, what it accepts comes out in order with the right shape, and in the end a good frame still works.
//
// Each frame is made from eight bytes: kind, epoch, step, position, rows, token, size of the hidden states, logits. The first bit says which hop
// it is.
func FuzzSubmit(f *testing.F) {
	rs := ranges(1, 3)
	models := []*layers.Model{loadModel(f, rs[0], 1), loadModel(f, rs[1], 1)}
	f.Add([]byte{0, 0, 0, 0, 2, 1, 0, 1})
	f.Add([]byte{128, 0, 0, 0, 2, 0, 0, 1, 0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 1, 2, 1, 9, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 4, 1, 0, 0, 1, 0, 1, 2, 0, 0, 0, 0, 0, 0, 2, 2, 1, 1, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 4, 1, 1, 0, 2, 9, 9, 9, 9, 9, 9, 9, 3, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{3, 0, 0, 4, 0, 2, 0, 0, 0, 0, 1, 0, 2, 1, 0, 0, 0, 0, 2, 2, 1, 1, 0, 0})
	f.Add([]byte{0, 255, 0, 0, 1, 255, 255, 255, 1, 0, 0, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		index := 1
		if len(script) > 0 && script[0] >= 128 {
			index = 0
		}
		m := models[index]
		e := start(t, m, func(c *engine.Config) { c.MaxRows = 8 })
		out := make(chan protocol.Frame, 64)
		open := openFrame(m, 1, protocol.F32, rs, index, 32)
		if index == 0 {
			open.Numerics += protocol.LocalEnds
		}
		s, _, err := e.Open(testPeer, open, func(f protocol.Frame) error {
			out <- clone(f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		result := func(b []byte) *protocol.IntermediateResult {
			return &protocol.IntermediateResult{
				Session: open.Session, Epoch: protocol.Epoch(b[1]), Step: uint32(b[2]), Position: uint32(b[3]),
				Tokens: make([]protocol.TokenID, b[4]%16), DType: protocol.F32, Logits: []uint32{uint32(b[7])},
				Hidden: make([]byte, max(int(b[4]%16)*testHidden*4-int(b[6]), 0)),
			}
		}
		step, position, give := uint32(0), uint32(0), uint32(0)
		for len(script) >= 8 && step < 40 {
			b := script[:8]
			script = script[8:]
			var frame protocol.Frame
			switch b[0] % 128 % 5 {
			case 0:
				r := result(b)
				if len(r.Tokens) > 0 {
					r.Tokens[0] = protocol.TokenID(binary.LittleEndian.Uint16([]byte{b[5], b[6]}))
				}
				frame = r
			case 1:
				frame = &protocol.Truncate{Session: open.Session, Epoch: protocol.Epoch(b[1]), Step: uint32(b[2]), Position: uint32(b[3])}
			case 2:
				frame = &protocol.Step{Session: open.Session, Step: step, Position: position, Tokens: make([]protocol.TokenID, b[4])}
			case 3:
				frame = &protocol.Resume{Session: open.Session, Epoch: protocol.Epoch(b[1]), Step: uint32(b[2]), Rows: []uint32{uint32(b[3]), uint32(b[4]), uint32(b[5])}}
			default:
				frame = &protocol.Close{}
			}
			before := e.Stats()
			err := s.Submit(t.Context(), frame)
			after := e.Stats()
			if err != nil || after.Stale != before.Stale || after.Duplicates != before.Duplicates {
				continue
			}
			switch got := (<-out).(type) {
			case *protocol.IntermediateResult:
				size := len(got.Tokens) * testHidden * 4
				if position < give {
					size = 0
				}
				if got.Step != step || got.Position != position || len(got.Hidden) != size || len(got.Hops) != 1 {
					t.Fatalf("step %d at %d answered %+v", step, position, got)
				}
				position += uint32(len(got.Tokens))
			case *protocol.Truncate:
				if got.Step != step || got.Position > position {
					t.Fatalf("step %d at %d answered %+v", step, position, got)
				}
				position = got.Position
				give = min(give, position)
			case *protocol.Resume:
				if got.Step != step || step != 0 || got.Rows[index] != 0 {
					t.Fatalf("step %d at %d answered %+v", step, position, got)
				}
				position, give = 0, got.Rows[index+1]
			default:
				t.Fatalf("answered %T: %v", got, got)
			}
			step++
		}
		if err := s.Submit(t.Context(), &protocol.Truncate{Session: open.Session, Step: step}); err != nil {
			t.Fatal(err)
		}
		<-out
		good := result([]byte{0, 0, byte(step + 1), 0, 2, 0, 0, 1})
		if err := s.Submit(t.Context(), good); err != nil {
			t.Fatal(err)
		}
		if r, ok := (<-out).(*protocol.IntermediateResult); !ok || len(r.Hidden) != 2*testHidden*4 {
			t.Fatalf("a good frame was answered with %+v", r)
		}
	})
}
