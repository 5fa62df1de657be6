// SPDX-License-Identifier: MIT

package protocol_test

import (
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// oneRow is what a hop in the middle sends a token: 2048 hidden states in f32.
func oneRow() *protocol.IntermediateResult {
	return &protocol.IntermediateResult{
		Tokens: []protocol.TokenID{1}, DType: protocol.F32, Hidden: make([]byte, 4*2048),
		Hops: []protocol.HopTiming{{Layers: protocol.LayerRange{From: 0, To: 16}, Rows: 1, Processing: 1 << 20}},
	}
}

func BenchmarkAppendOneRow(b *testing.B) {
	f, buf := oneRow(), make([]byte, 0, 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := protocol.Append(buf, f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeOneRow(b *testing.B) {
	body, err := protocol.AppendBody(nil, oneRow())
	if err != nil {
		b.Fatal(err)
	}
	var f protocol.IntermediateResult
	b.ReportAllocs()
	for b.Loop() {
		if err := protocol.DecodeInto(body, &f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDigestOneRow(b *testing.B) {
	f := oneRow()
	b.SetBytes(int64(len(f.Hidden)))
	for b.Loop() {
		protocol.Digest(f)
	}
}
