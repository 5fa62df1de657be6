// SPDX-License-Identifier: MIT

package tokenizer

import (
	"slices"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestStreamDecoder(t *testing.T) {
	t.Parallel()
	tok := mustNew(t, bpeMeta(nil, map[string]kind{"<|im_end|>": kindControl})) // token b is byte b, 256 the control token
	for _, c := range []struct {
		ids  []protocol.TokenID
		want []string // one for each token, then Flush's
	}{
		{[]protocol.TokenID{'a', 'b'}, []string{"a", "b", ""}},
		{[]protocol.TokenID{0xf0, 0x9f, 0xa6, 0x99, 'x'}, []string{"", "", "", "🦙", "x", ""}},
		{[]protocol.TokenID{0xc3, 'x'}, []string{"", "\ufffdx", ""}},
		{[]protocol.TokenID{0x80, 0xff, 'x'}, []string{"\ufffd", "\ufffd", "x", ""}},
		{[]protocol.TokenID{0xe2, 0x82}, []string{"", "", "\ufffd\ufffd"}},
		{[]protocol.TokenID{0xe2, 256, 0x82, 0xac, 12345}, []string{"", "", "", "€", "", ""}},
		{[]protocol.TokenID{0xe2, 0xe2, 0x82, 0xac}, []string{"", "\ufffd", "", "€", ""}},
		{nil, []string{""}},
	} {
		d := tok.Stream()
		var got []string
		for _, id := range c.ids {
			got = append(got, d.Next(id))
		}
		if got = append(got, d.Flush()); !slices.Equal(got, c.want) {
			t.Errorf("%x: got %q, want %q", c.ids, got, c.want)
		}
		if s := d.Next('z'); s != "z" {
			t.Errorf("after Flush: %q", s)
		}
	}
}
