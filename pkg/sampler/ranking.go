// SPDX-License-Identifier: MIT

package sampler

import "github.com/shardnode/shardnode/pkg/protocol"

// candidate is a token with its logit.
type candidate struct {
	logit float32
	id    protocol.TokenID
}

// before is the rank order, a total one: likeliest first, ties by ID. No NaN is ever ranked.
func (c candidate) before(o candidate) bool {
	return c.logit > o.logit || c.logit == o.logit && c.id < o.id
}

// ranking is a binary heap whose root is the first candidate in rank order: filters usually keep a few dozen of a
// hundred thousand tokens, and a heap sorts only those.
type ranking []candidate

// fill makes a heap of all logits but NaN, in h's memory.
func (h ranking) fill(logits []float32) ranking {
	h = h[:0]
	for i, x := range logits {
		if x == x {
			h = append(h, candidate{x, protocol.TokenID(i)})
		}
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	return h
}

// pop removes the first candidate.
func (h *ranking) pop() candidate {
	q := *h
	first, last := q[0], len(q)-1
	q[0] = q[last]
	*h = q[:last]
	h.down(0)
	return first
}

func (h ranking) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].before(h[c]) {
			c++
		}
		if !h[c].before(h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}
