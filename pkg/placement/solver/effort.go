// SPDX-License-Identifier: MIT

package solver

import "context"

// effort counts search nodes, so that a bounded search ends at the same place anywhere; only a cancelled one does not.
type effort struct {
	ctx   context.Context //nolint:containedctx // lives for one Solve
	left  int64
	spent int64
	look  int64 // spent, when the context is looked at next
	over  bool
}

// lookEvery is how many nodes pass between two looks at the context: under a millisecond.
const lookEvery = 1 << 11

func newEffort(ctx context.Context, nodes int64) *effort {
	return &effort{ctx: ctx, left: nodes}
}

// part returns an effort that is over when a share of what is left is spent. give it back with rejoin.
func (e *effort) part(share float64) *effort {
	return &effort{ctx: e.ctx, left: int64(float64(share * float64(e.left)))}
}

// rejoin counts what a part has spent.
func (e *effort) rejoin(p *effort) { e.spend(int(p.spent)) }

// spend notes nodes, and reports whether there may be more.
func (e *effort) spend(nodes int) bool {
	e.left -= int64(nodes)
	e.spent += int64(nodes)
	if e.left <= 0 {
		e.over = true
	}
	if e.spent >= e.look {
		e.look = e.spent + lookEvery
		if e.ctx.Err() != nil {
			e.over = true
		}
	}
	return !e.over
}
