// SPDX-License-Identifier: MIT

// Package sampler turns a row of logits into a token. A draw is a pure function of the logits, the tokens before it,
// its position and the request's sampling parameters, on every target bit for bit: a replacement node continues a
// generation exactly. It keeps no state between calls, does no I/O and reads no clock. Package engine calls it on a
// route's last shard. A Sampler is scratch memory for one goroutine.
package sampler

import (
	"math"
	"sort"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// DefaultRepeatLastN is how many recent tokens the repeat penalty looks at where the request sets a penalty and no
// window: llama.cpp's default.
const DefaultRepeatLastN = 64

// Sampler holds the scratch memory of Sample, so that a draw allocates nothing.
type Sampler struct {
	rank    ranking
	weights []float32 // [vocab] of all tokens
	sums    []float64 // [blocks] of the weights of the blocks before, of kernel.MaximaBlock tokens each
	kept    []weight  // tokens that survived the filters by rank, in rank order; capacity vocab
	seen    []uint32  // [vocab]; seen[t] == mark: the penalty was already applied to t in this call
	mark    uint32
	counts  []uint32  // [vocab] zero between calls; nil until a penalty needs it
	raw     []float32 // [vocab] the row before anything was done to it, where log probabilities are asked for
}

// weight is a candidate with its unnormalised probability.
type weight struct {
	id protocol.TokenID
	w  float32 // kernel.Weight, 0 < w ≤ 1
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
	s.rank.grow(vocab)
	s.weights = make([]float32, vocab)
	s.sums = make([]float64, blocks(vocab))
	s.kept = make([]weight, 0, vocab)
	s.seen = make([]uint32, vocab)
	s.mark = 0
}

// Draw is [Sampler.Sample] for requests that may ask for more. Of the tokens only those in allowed, a set of bits, can be drawn; nil: all.
// The log probabilities that p asks for are appended to dst: the drawn token's, then those of the likeliest others, likeliest first.
// They are of logits as they come: nothing that is done to them counts.
func (s *Sampler) Draw(logits []float32, history []protocol.TokenID, position uint32, p protocol.Sampling, allowed []uint64, dst []protocol.Logprob) (protocol.TokenID, []protocol.Logprob) {
	if p.Logprobs > 0 {
		s.raw = append(s.raw[:0], logits...)
	}
	s.adjust(logits, history, p)
	forbid(logits, allowed)
	token := s.pick(logits, position, p)
	if allowed != nil && !isAllowed(allowed, token) { // no logit above -Inf is left
		token = firstAllowed(allowed)
	}
	if p.Logprobs > 0 {
		dst = s.appendLogprobs(dst, token, int(p.Logprobs)-1)
	}
	return token, dst
}

// Sample draws the token for position from logits, the output of the row before it. history holds the tokens of
// positions before position, oldest first; at the least the last p.RepeatLastN of them. logits is overwritten.
//
// The order is: bias; repeat penalty over the recent tokens, each distinct token once; frequency and presence penalty over the generated
// ones; grammar ([Sampler.Draw]); arg max if the temperature is 0;
// else temperature, top-k, softmax, top-p, min-p, draw. NaN counts as -Inf and ties go to the lowest ID. A row
// without any logit above -Inf yields token 0. Parameters that [Validate] refuses give some token, never a panic.
func (s *Sampler) Sample(logits []float32, history []protocol.TokenID, position uint32, p protocol.Sampling) protocol.TokenID {
	token, _ := s.Draw(logits, history, position, p, nil, nil)
	return token
}

// pick draws from logits that are ready for it.
func (s *Sampler) pick(logits []float32, position uint32, p protocol.Sampling) protocol.TokenID {
	at := kernel.ArgMax(logits)
	best := protocol.TokenID(at)
	if len(logits) == 0 || !(p.Temperature > 0) { // also a NaN temperature
		return best
	}
	top := logits[at]
	if !(top > float32(math.Inf(-1))) { // nor is any other
		return best
	}
	u := uniform(p.Seed, position)
	minP := float32(0)
	if p.MinP > 0 {
		minP = min(p.MinP, 1)
	}
	topK := int(min(uint64(p.TopK), uint64(len(logits))))
	nucleus := p.TopP > 0 && p.TopP < 1
	switch {
	case topK > 0:
		s.keepTopK(logits, top, topK, p)
	case nucleus:
		s.keepNucleus(logits, top, p)
	default:
		return s.drawAll(logits, top, p.Temperature, minP, u, best)
	}
	s.keepMinP(minP)
	return s.draw(u, best)
}

// keepTopK keeps the k likeliest in rank order, then the nucleus among them.
func (s *Sampler) keepTopK(logits []float32, top float32, k int, p protocol.Sampling) {
	s.rank.reset(logits)
	s.kept = s.kept[:0]
	total := 0.0
	for len(s.kept) < k {
		id, logit, ok := s.rank.next()
		if !ok {
			break
		}
		w := kernel.Weight(logit, top, p.Temperature)
		if w == 0 {
			break // so weigh all that follow
		}
		s.kept = append(s.kept, weight{id, w})
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

// keepNucleus keeps the nucleus of the whole vocabulary. Tokens are ranked only as far as the nucleus reaches.
func (s *Sampler) keepNucleus(logits []float32, top float32, p protocol.Sampling) {
	total := s.weigh(logits, top, p.Temperature, 0)
	s.rank.reset(logits)
	s.kept = s.kept[:0]
	limit, cum := float64(float64(p.TopP)*total), 0.0
	for cum < limit || len(s.kept) == 0 {
		id, _, ok := s.rank.next()
		if !ok {
			break
		}
		w := s.weights[id]
		if w == 0 {
			break
		}
		s.kept = append(s.kept, weight{id, w})
		cum += float64(w)
	}
}

// keepMinP drops tokens that weigh less than minP times the likeliest, which weighs 1.
func (s *Sampler) keepMinP(minP float32) {
	n := 0
	for _, c := range s.kept {
		if c.w >= minP {
			s.kept[n] = c
			n++
		}
	}
	s.kept = s.kept[:n]
}

// weigh sets the weights of all tokens, and returns the sum in ID order of those that weigh at least minP. It keeps the sums before each
// block.
func (s *Sampler) weigh(logits []float32, top, temperature, minP float32) float64 {
	w := s.weights[:len(logits)]
	kernel.Weights(w, logits, top, temperature)
	total := 0.0
	for b := 0; len(w) > 0; b++ {
		s.sums[b] = total
		n := min(kernel.MaximaBlock, len(w))
		for _, v := range w[:n] {
			if v >= minP {
				total += float64(v)
			}
		}
		w = w[n:]
	}
	return total
}

// drawAll draws from all tokens that weigh at least minP, in ID order.
func (s *Sampler) drawAll(logits []float32, top, temperature, minP float32, u float64, best protocol.TokenID) protocol.TokenID {
	limit := float64(u * s.weigh(logits, top, temperature, minP))
	// As in draw, but the walk has been made: its end lies in the last block before which the sum does not pass the limit.
	b := sort.Search(blocks(len(logits)), func(b int) bool { return s.sums[b] > limit }) - 1
	cum := s.sums[b]
	for i := b * kernel.MaximaBlock; i < len(logits); i++ {
		if w := s.weights[i]; w >= minP {
			cum += float64(w)
		}
		if cum > limit {
			return protocol.TokenID(i)
		}
	}
	return best
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
