// SPDX-License-Identifier: MIT

package sampler

import (
	"math"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// candidate is a token with its logit, as a number that is the greater the earlier it comes in rank order: likeliest first, ties by ID.
// Above are the logit's bits, those of a negative one inverted, of another one with the highest set; below is the ID, inverted.
type candidate uint64

// lowest is above the candidates of -Inf and of NaN with a sign. Those of NaN without are above all others.
const lowest candidate = 1 << (32 + 23)

func candidateOf(logit float32, id protocol.TokenID) candidate {
	bits := math.Float32bits(logit + 0) // -0 is a tie with 0
	bits ^= uint32(int32(bits)>>31) | 1<<31
	return candidate(bits)<<32 | candidate(^uint32(id))
}

func (c candidate) id() protocol.TokenID { return protocol.TokenID(^uint32(c)) }

func (c candidate) logit() float32 {
	bits := uint32(c >> 32)
	return math.Float32frombits(bits ^ (uint32(int32(^bits)>>31) | 1<<31))
}

// ranking gives the tokens of a row in rank order, but for those without a logit above -Inf. Filters usually keep a few dozen of a hundred
// thousand tokens, so nothing is sorted: a binary heap holds one candidate of each block of [kernel.MaximaBlock] tokens, the first of
// those not given yet, and a block is searched for its next one when one is taken.
type ranking struct {
	logits []float32
	maxima []float32   // [blocks]
	heap   []candidate // at most [blocks]; a block that has given none has its first ID with its largest logit
}

// grow makes room for rows of vocab logits.
func (r *ranking) grow(vocab int) {
	r.maxima, r.heap = make([]float32, blocks(vocab)), make([]candidate, 0, blocks(vocab))
}

// blocks returns the number of blocks of a row.
func blocks(vocab int) int { return (vocab + kernel.MaximaBlock - 1) / kernel.MaximaBlock }

// reset begins with a row of logits, which must stay as they are.
func (r *ranking) reset(logits []float32) {
	r.logits, r.heap = logits, r.heap[:0]
	maxima := r.maxima[:blocks(len(logits))]
	kernel.Maxima(maxima, logits)
	for b, x := range maxima {
		if c := candidateOf(x, protocol.TokenID(b*kernel.MaximaBlock)); c >= lowest {
			r.heap = append(r.heap, c)
		}
	}
	for i := len(r.heap)/2 - 1; i >= 0; i-- {
		r.down(i)
	}
}

// next takes the first candidate; ok is false where there is none left.
func (r *ranking) next() (id protocol.TokenID, logit float32, ok bool) {
	if len(r.heap) == 0 {
		return 0, 0, false
	}
	id, logit = r.heap[0].id(), r.heap[0].logit()
	for r.logits[id] != logit { // a block's first
		id++
	}
	if f := r.follower(candidateOf(logit, id)); f >= lowest {
		r.heap[0] = f
	} else {
		last := len(r.heap) - 1
		r.heap[0] = r.heap[last]
		r.heap = r.heap[:last]
	}
	r.down(0)
	return id, logit, true
}

// follower returns the candidate that follows c in rank order among the tokens of its block, or one below lowest.
func (r *ranking) follower(c candidate) (first candidate) {
	at := int(c.id()) / kernel.MaximaBlock * kernel.MaximaBlock
	for i, x := range r.logits[at:min(at+kernel.MaximaBlock, len(r.logits))] {
		o := candidateOf(x, protocol.TokenID(at+i))
		if o >= c {
			o = 0
		}
		first = max(first, o)
	}
	return first
}

// down restores the heap's order where the i-th candidate may come later than those below it.
func (r *ranking) down(i int) {
	h := r.heap
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1] > h[c] {
			c++
		}
		if h[c] <= h[i] {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}
