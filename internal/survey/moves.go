// SPDX-License-Identifier: MIT

package survey

import (
	"cmp"
	"slices"

	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Move is a node's way from what it serves to what a plan wants.
type Move struct {
	Device     int // of the inventory
	From, To   protocol.LayerRange
	Uncovered  int // layers that nobody serves while it loads, beyond those that nobody served before
	Unservable int // layers that nobody serves when it is done
}

// Moves lists what has to be done to serve the routes of a plan, one move at a time, in an order that leaves as few layers as can be to
// nobody after each step, and then while each loads. Nodes that no route needs stay as they are.
func (s *Survey) Moves(routes [][]solver.Hop) []Move {
	n := len(s.Inventory.Instance.Model.Layers)
	serves := make([]protocol.LayerRange, len(s.Inventory.Today))
	for i, r := range s.Inventory.Today {
		serves[i] = *r
	}
	var left []Move
	for _, route := range routes {
		for _, h := range route {
			if h.Layers != serves[h.Device] {
				left = append(left, Move{Device: h.Device, From: serves[h.Device], To: h.Layers})
			}
		}
	}
	var out []Move
	for len(left) > 0 {
		before := missing(n, serves)
		for i := range left {
			m := &left[i]
			serves[m.Device] = protocol.LayerRange{}
			m.Uncovered = missing(n, serves) - before
			serves[m.Device] = m.To
			m.Unservable = missing(n, serves)
			serves[m.Device] = m.From
		}
		next := slices.MinFunc(left, func(a, b Move) int {
			return cmp.Or(cmp.Compare(a.Unservable, b.Unservable), cmp.Compare(a.Uncovered, b.Uncovered), cmp.Compare(a.Device, b.Device))
		})
		serves[next.Device] = next.To
		out = append(out, next)
		left = slices.DeleteFunc(left, func(m Move) bool { return m.Device == next.Device })
	}
	return out
}

// missing counts the layers that nobody serves.
func missing(n int, serves []protocol.LayerRange) int {
	count := 0
	for l := range n {
		if !slices.ContainsFunc(serves, func(r protocol.LayerRange) bool { return r.From <= l && l < r.To }) {
			count++
		}
	}
	return count
}
