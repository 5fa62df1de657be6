// SPDX-License-Identifier: MIT

package protocol_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// FuzzDecode: what decodes encodes to the same bytes, and decodes to the same into a frame used before.
func FuzzDecode(f *testing.F) {
	used := map[protocol.Type][]byte{}
	for _, s := range samples() {
		body := s.body(f)
		used[s.frame.FrameType()] = body
		f.Add(body)
		f.Add(append(bytes.Clone(body), 0))
		f.Add(body[:len(body)/2])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		frame, err := protocol.Decode(body)
		if err != nil {
			return
		}
		again, err := protocol.AppendBody(nil, frame)
		if err != nil || !bytes.Equal(again, body) {
			t.Fatalf("encodes to\n%x, %v, from\n%x", again, err, body)
		}
		typ, err := protocol.Peek(body)
		if err != nil || typ != frame.FrameType() {
			t.Fatalf("peek: %d, %v", typ, err)
		}
		other := protocol.New(typ)
		if err := protocol.DecodeInto(used[typ], other); err != nil {
			t.Fatal(err)
		}
		if err := protocol.DecodeInto(body, other); err != nil {
			t.Fatalf("into a used frame: %v", err)
		}
		if diff := cmp.Diff(frame, other, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}
