// SPDX-License-Identifier: MIT

package placement

import (
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestAtRisk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ nodes, want string }{
		{"", ""},
		{"a:0-31", "0-31"},
		{"a:0-31 b:0-31", ""},
		{"a:0-15 b:16-31", "0-15 16-31"},
		{"a:0-15 b:0-15 c:16-31", "16-31"},
		{"a:0-20 b:10-31", "0-9 21-31"},
		{"a:0-15", "0-15"}, // 16-31 are missing: another matter
		{"a:0-31 b:8-15 c:20-23", "0-7 16-19 24-31"},
		{"a:0-31 b:0-31-", "0-31"},          // b drains
		{"a:0-15- b:16-31 c:16-31", "0-15"}, // nobody stays
		{"a:0-15 a:0-15 b:16-31 c:16-31", "0-15"},
		{"a:0-40 b:0-31", "0-31"}, // a makes no sense
	} {
		var cands []Candidate
		for _, s := range strings.Fields(tt.nodes) {
			peer, layers, _ := strings.Cut(s, ":")
			kept, drains := strings.CutSuffix(layers, "-")
			r, err := protocol.ParseLayerRange(kept)
			if err != nil {
				t.Fatal(err)
			}
			cands = append(cands, Candidate{Peer: peer, Layers: r, Draining: drains})
		}
		var got []string
		for _, r := range AtRisk(cands, 32) {
			got = append(got, r.String())
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: at risk %q, want %q", tt.nodes, s, tt.want)
		}
	}
}
