// SPDX-License-Identifier: MIT

// Package sampler turns a row of logits into a token. A draw is a pure function of the logits, the tokens before it,
// its position and the request's sampling parameters, on every target bit for bit: a replacement node continues a
// generation exactly. It keeps no state between calls, does no I/O and reads no clock. Package engine calls it on a
// route's last shard. A Sampler is scratch memory for one goroutine.
package sampler

import (
	"math"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// DefaultRepeatLastN is how many recent tokens the repeat penalty looks at where the request sets a penalty and no
// window: llama.cpp's default.
const DefaultRepeatLastN = 64

// Sampler holds the scratch memory of Sample, so that a draw allocates nothing.
type Sampler struct {
	rank ranking  // capacity vocab
	kept []weight // tokens that survived the filters, in the order the draw walks
	seen []uint32 // [vocab]; seen[t] == mark: the penalty was already applied to t in this call
	mark uint32
}

// weight is a candidate with its unnormalised probability.
type weight struct {
	id protocol.TokenID
	w  float32 // exp((logit-max)/temperature), 0 < w ≤ 1
}

// New returns a sampler for rows of vocab logits. Longer and shorter rows work too; a longer one makes it grow.
func New(vocab int) *Sampler {
	s := new(Sampler)
	s.grow(vocab)
	return s
}

func (s *Sampler) grow(vocab int) {
	if vocab <= len(s.seen) {
		return
	}
	s.rank = make(ranking, 0, vocab)
	s.kept = make([]weight, 0, vocab)
	s.seen = make([]uint32, vocab)
	s.mark = 0
}

// Sample draws the token for position from logits, the output of the row before it. history holds the tokens of
// positions before position, oldest first; at the least the last p.RepeatLastN of them. logits is overwritten.
//
// The order is: repeat penalty over the recent tokens, each distinct token once; arg max if the temperature is 0;
// else temperature, top-k, softmax, top-p, min-p, draw. NaN counts as -Inf and ties go to the lowest ID. A row
// without any logit above -Inf yields token 0. Parameters that [Validate] refuses give some token, never a panic.
func (s *Sampler) Sample(logits []float32, history []protocol.TokenID, position uint32, p protocol.Sampling) protocol.TokenID {
	s.grow(len(logits))
	s.penalise(logits, history, p)
	best, top := argMax(logits)
	if !(p.Temperature > 0) || math.IsInf(float64(top), -1) { // also a NaN temperature
		return best
	}
	u := uniform(p.Seed, position)
	topK := int(min(uint64(p.TopK), uint64(len(logits))))
	nucleus := p.TopP > 0 && p.TopP < 1
	switch {
	case topK > 0:
		s.keepTopK(logits, top, topK, p)
	case nucleus:
		s.keepAllRanked(logits, top, p)
	default:
		s.keepAll(logits, top, p)
	}
	s.keepMinP(p.MinP)
	return s.draw(u, best)
}

// penalise applies the repeat penalty in place.
func (s *Sampler) penalise(logits []float32, history []protocol.TokenID, p protocol.Sampling) {
	if !(p.RepeatPenalty > 0) || p.RepeatPenalty == 1 {
		return
	}
	n := uint64(p.RepeatLastN)
	if n == 0 {
		n = DefaultRepeatLastN
	}
	if n < uint64(len(history)) {
		history = history[uint64(len(history))-n:]
	}
	s.mark++
	if s.mark == 0 { // wrapped: old marks would look fresh
		clear(s.seen)
		s.mark = 1
	}
	for _, t := range history {
		if uint64(t) >= uint64(len(logits)) || s.seen[t] == s.mark {
			continue
		}
		s.seen[t] = s.mark
		if logits[t] > 0 {
			logits[t] /= p.RepeatPenalty
		} else {
			logits[t] *= p.RepeatPenalty
		}
	}
}

// argMax returns the index of the greatest value and the value; ties to the lowest index, NaN as -Inf.
func argMax(x []float32) (protocol.TokenID, float32) {
	best, top := 0, float32(math.Inf(-1))
	for i, v := range x {
		if v > top {
			best, top = i, v
		}
	}
	return protocol.TokenID(best), top
}

// weightOf returns a token's unnormalised probability. The maximum is subtracted before the division, so that no
// temperature overflows; a logit equal to the maximum weighs 1 even when both are +Inf.
func weightOf(x, top, temperature float32) float32 {
	if x == top {
		return 1
	}
	w := kernel.Exp(float32(x-top) / temperature)
	if !(w > 0) { // NaN logit, or underflow
		return 0
	}
	return w
}

// keepTopK keeps the k likeliest in rank order, then the nucleus among them.
func (s *Sampler) keepTopK(logits []float32, top float32, k int, p protocol.Sampling) {
	s.rank = s.rank.fill(logits)
	s.kept = s.kept[:0]
	total := 0.0
	for len(s.kept) < k && len(s.rank) > 0 {
		c := s.rank.pop()
		w := weightOf(c.logit, top, p.Temperature)
		if w == 0 {
			break // so weigh all that follow
		}
		s.kept = append(s.kept, weight{c.id, w})
		total += float64(w)
	}
	if !(p.TopP > 0 && p.TopP < 1) {
		return
	}
	limit, cum := float64(float64(p.TopP)*total), 0.0
	for i, c := range s.kept {
		cum += float64(c.w)
		if cum >= limit {
			s.kept = s.kept[:i+1]
			return
		}
	}
}

// keepAllRanked keeps the nucleus of the whole vocabulary. The heap is popped only as far as the nucleus reaches.
func (s *Sampler) keepAllRanked(logits []float32, top float32, p protocol.Sampling) {
	total := 0.0
	for _, x := range logits {
		total += float64(weightOf(x, top, p.Temperature))
	}
	s.rank = s.rank.fill(logits)
	s.kept = s.kept[:0]
	limit, cum := float64(float64(p.TopP)*total), 0.0
	for len(s.rank) > 0 && (cum < limit || len(s.kept) == 0) {
		c := s.rank.pop()
		w := weightOf(c.logit, top, p.Temperature)
		if w == 0 {
			break
		}
		s.kept = append(s.kept, weight{c.id, w})
		cum += float64(w)
	}
}

// keepAll keeps every token in ID order.
func (s *Sampler) keepAll(logits []float32, top float32, p protocol.Sampling) {
	s.kept = s.kept[:0]
	for i, x := range logits {
		if w := weightOf(x, top, p.Temperature); w > 0 {
			s.kept = append(s.kept, weight{protocol.TokenID(i), w})
		}
	}
}

// keepMinP drops tokens that weigh less than minP times the likeliest, which weighs 1.
func (s *Sampler) keepMinP(minP float32) {
	if !(minP > 0) {
		return
	}
	n := 0
	for _, c := range s.kept {
		if c.w >= min(minP, 1) {
			s.kept[n] = c
			n++
		}
	}
	s.kept = s.kept[:n]
}

// draw walks the kept tokens until their cumulated weight passes u of the total. Sums are float64, in the order of
// kept, first the total, then the walk: rounding cannot make the walk end elsewhere on another machine.
func (s *Sampler) draw(u float64, best protocol.TokenID) protocol.TokenID {
	total := 0.0
	for _, c := range s.kept {
		total += float64(c.w)
	}
	limit, cum := float64(u*total), 0.0
	for _, c := range s.kept {
		cum += float64(c.w)
		if cum > limit {
			return c.id
		}
	}
	return best
}
