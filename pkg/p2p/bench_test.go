// SPDX-License-Identifier: MIT

package p2p_test

import (
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// BenchmarkToken is a decode step of 8 KiB hidden states over four hops on loopback: the network's share of a token.
func BenchmarkToken(b *testing.B) {
	for name, path := range paths {
		b.Run(name, func(b *testing.B) {
			r := newRoute(b, 4)
			for _, n := range r.nodes {
				n.hidden = 2048
			}
			o := r.request(path)
			hops := r.mustOpen(b, o)
			in := &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(9, 1), Sample: true}
			b.ReportAllocs()
			for b.Loop() {
				if f, ok := exchange(b, path, hops, in).(*protocol.IntermediateResult); !ok || f.Generated[0] != 13 {
					b.Fatalf("%+v", f)
				}
				in.Step++
				in.Position++
			}
		})
	}
}
