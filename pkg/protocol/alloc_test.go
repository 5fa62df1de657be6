// SPDX-License-Identifier: MIT

//go:build !race

package protocol_test

import (
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// A step in the middle of a generation allocates nothing here: what it needs has grown before. (Under the race detector
// pools forget on purpose.)
func TestStepsAllocateNothing(t *testing.T) { // not parallel: counts allocations
	buf := make([]byte, 0, 1<<20)
	x := make([]float32, 2048)
	for _, s := range samples() {
		switch s.frame.(type) {
		case *protocol.Step, *protocol.IntermediateResult, *protocol.Truncate:
		default:
			continue
		}
		body, into := s.body(t), protocol.New(s.frame.FrameType())
		for name, f := range map[string]func() error{
			"append":      func() error { _, err := protocol.Append(buf, s.frame); return err },
			"decode into": func() error { return protocol.DecodeInto(body, into) },
			"peek":        func() error { _, err := protocol.Peek(body); return err },
		} {
			if n := testing.AllocsPerRun(200, func() {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s %s: %v allocations", name, s.name, n)
			}
		}
	}
	for _, d := range []protocol.DType{protocol.F32, protocol.F16} {
		if n := testing.AllocsPerRun(20, func() {
			f := protocol.IntermediateResult{DType: d, Hidden: protocol.AppendHidden(buf, x, d), Tokens: []protocol.TokenID{1}}
			if protocol.Digest(&f) == ([16]byte{}) || protocol.HiddenInto(x, f.Hidden, d) != nil {
				t.Fatal("digest or hidden states")
			}
		}); n != 0 {
			t.Errorf("hidden states as %s: %v allocations", d, n)
		}
	}
}
