// SPDX-License-Identifier: MIT

package survey_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/survey"
	"github.com/shardnode/shardnode/pkg/placement/solver"
)

// Nodes grow into what others leave before those leave it, and who has a replica goes first.
func TestMoves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		today, plan []string // per device; "": not in the plan
		want        string   // device:to, layers uncovered while it loads
	}{
		{"nothing to do", []string{"0-7", "8-15"}, []string{"0-7", "8-15"}, ""},
		{"the other grows first", []string{"0-7", "8-15"}, []string{"0-3", "4-15"}, "1:4-15/8 0:0-3/4"},
		{"a replica pays nothing", []string{"0-7", "8-15", "0-15"}, []string{"0-3", "4-15", ""}, "0:0-3/0 1:4-15/0"},
		{"two change places", []string{"0-7", "8-15"}, []string{"8-15", "0-7"}, "0:8-15/8 1:0-7/0"},
		{"who is not needed stays", []string{"0-7", "8-15", "8-15"}, []string{"0-7", "", "8-15"}, ""},
		{"gaps first", []string{"0-3", "0-3", "8-15"}, []string{"0-3", "4-7", "8-15"}, "1:4-7/0"},
	} {
		s := &survey.Survey{}
		s.Inventory.Instance.Model.Layers = make([]solver.Layer, modelLayers)
		var route []solver.Hop
		for i, r := range c.today {
			now := layerRange(r)
			s.Inventory.Today = append(s.Inventory.Today, &now)
			if c.plan[i] != "" {
				route = append(route, solver.Hop{Device: i, Layers: layerRange(c.plan[i])})
			}
		}
		var got []string
		for _, m := range s.Moves([][]solver.Hop{route}) {
			got = append(got, fmt.Sprintf("%d:%s/%d", m.Device, m.To, m.Uncovered))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
