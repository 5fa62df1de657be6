// SPDX-License-Identifier: MIT

package placement_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// members reads "peer:0-7 peer:8-15-" where - means draining and + loading.
func members(t *testing.T, text string) []placement.Member {
	t.Helper()
	var out []placement.Member
	for _, s := range strings.Fields(text) {
		peer, layers, _ := strings.Cut(s, ":")
		m := placement.Member{Peer: peer}
		layers, m.Draining = strings.CutSuffix(layers, "-")
		layers, m.Loading = strings.CutSuffix(layers, "+")
		m.Holder = holders(t, layers)[0]
		out = append(out, m)
	}
	return out
}

func chooser(peer string, room int) *placement.Chooser {
	return &placement.Chooser{Peer: peer, NLayers: 32, Fits: atMost(room)}
}

// TestClaim: a claim is settled when it stays the same; who loads and comes before counts as there, who comes after or drains does not.
func TestClaim(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		seen []string // at each claim
		want string
	}{
		{"alone", []string{"", ""}, "0-7; 0-7!"},
		{"the one before takes the first layers", []string{"", "b:0-7+", "b:0-7+"}, "0-7; 8-15; 8-15!"},
		{"the one behind gives way", []string{"", "z:0-7+"}, "0-7; 0-7!"},
		{"who drains is gone", []string{"b:0-31- c:8-31", "b:0-31- c:8-31"}, "0-7; 0-7!"},
		{"its own record", []string{"m:0-7+", "m:0-7+"}, "0-7; 0-7!"},
	} {
		c := chooser("m", 8)
		var got []string
		for _, seen := range tt.seen {
			ch := c.Claim(members(t, seen))
			got = append(got, ch.Layers.String()+map[bool]string{true: "!"}[ch.Settled])
		}
		if s := strings.Join(got, "; "); s != tt.want {
			t.Errorf("%s: claims %s, want %s", tt.name, s, tt.want)
		}
	}
}

// TestClaimsEnd: of nodes that keep changing their minds, one that has given way often enough loads what it said last.
func TestClaimsEnd(t *testing.T) {
	t.Parallel()
	c := chooser("m", 8)
	var last protocol.LayerRange
	for i := range 100 {
		ch := c.Claim(members(t, fmt.Sprintf("a:%d-%d+", i%2*8, i%2*8+7)))
		if ch.Settled {
			if ch.Layers != last || i < 10 {
				t.Errorf("after %d claims it loads %s, said %s", i, ch.Layers, last)
			}
			return
		}
		last = ch.Layers
	}
	t.Error("the claims do not end")
}

// TestReview: a move is worth it twice in a row, and after the notice; nobody moves while others do, but of those that gave notice at the same
// time the first goes on.
func TestReview(t *testing.T) {
	t.Parallel()
	const gap, whole = "a:0-15", "a:0-31"
	mine := protocol.LayerRange{From: 0, To: 16}
	for _, tt := range []struct {
		name           string
		reviews        []string
		want           string
		confirm, stays string
	}{
		{"a gap", []string{gap, gap}, "again notice", gap, ""},
		{"the gap is filled before the second look", []string{gap, whole}, "again stay", "", ""},
		{"and comes back", []string{gap, whole, gap, gap}, "again stay again notice", gap, ""},
		{"filled during the notice", []string{gap, gap}, "again notice", whole, "the other layers no longer need this node more"},
		{"another one moves", []string{gap, gap + " b:0-15-"}, "again stay", "", ""},
		{"another one loads", []string{gap, gap + " z:0-15+"}, "again stay", "", ""},
		{"the one before gave notice too", []string{gap, gap}, "again notice", gap + " b:0-15-", "another node moves"},
		{"the one behind gave notice too", []string{gap, gap}, "again notice", gap + " z:0-15-", ""},
	} {
		c := chooser("m", 16)
		var got []string
		var wish protocol.LayerRange
		for _, seen := range tt.reviews {
			w, gain, v := c.Review(members(t, seen), mine)
			wish = w
			got = append(got, []string{"stay", "again", "notice"}[v])
			if v != placement.Stay && (w.String() != "16-31" || !math.IsInf(gain, 1)) {
				t.Errorf("%s: wishes for %s with gain %g", tt.name, w, gain)
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: reviews say %s, want %s", tt.name, s, tt.want)
		}
		if tt.confirm == "" {
			continue
		}
		if _, stays := c.Confirm(members(t, tt.confirm), mine, wish); stays != tt.stays {
			t.Errorf("%s: after the notice it says %q, want %q", tt.name, stays, tt.stays)
		}
	}
}

// TestOutcomeOf: what is held against a node depends on what it said.
func TestOutcomeOf(t *testing.T) {
	t.Parallel()
	lost := protocol.Errorf(protocol.CodeBusy, "gone")
	lost.Lost = "a"
	for _, tt := range []struct {
		err  error
		want placement.Outcome
	}{
		{errors.New("reset"), placement.OutcomeFailed},
		{lost, placement.OutcomeFailed},
		{protocol.Errorf(protocol.CodeUnreachable, "x"), placement.OutcomeFailed},
		{fmt.Errorf("open: %w", protocol.Errorf(protocol.CodeBusy, "x")), placement.OutcomeBusy},
		{protocol.Errorf(protocol.CodeDraining, "x"), placement.OutcomeBusy},
		{protocol.Errorf(protocol.CodeForbidden, "x"), placement.OutcomeUnfit},
	} {
		if got := placement.OutcomeOf(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}
