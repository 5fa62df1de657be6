// SPDX-License-Identifier: MIT

package sampler

import (
	"math"
	"math/bits"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// adjust adds the bias and takes the penalties off, in place.
func (s *Sampler) adjust(logits []float32, history []protocol.TokenID, p protocol.Sampling) {
	s.grow(len(logits))
	for _, b := range p.Bias {
		if uint64(b.Token) < uint64(len(logits)) {
			logits[b.Token] += b.Value
		}
	}
	s.penalise(logits, history, p)
	s.penaliseGenerated(logits, history[min(uint64(p.Prompt), uint64(len(history))):], p)
}

// forbid makes tokens that are not allowed impossible.
func forbid(logits []float32, allowed []uint64) {
	if allowed == nil {
		return
	}
	never := float32(math.Inf(-1))
	for i := range logits {
		if !isAllowed(allowed, protocol.TokenID(i)) {
			logits[i] = never
		}
	}
}

func isAllowed(allowed []uint64, t protocol.TokenID) bool {
	return int(t/64) < len(allowed) && allowed[t/64]>>(t%64)&1 != 0
}

// firstAllowed returns the lowest token that is allowed; 0 where none is.
func firstAllowed(allowed []uint64) protocol.TokenID {
	for i, w := range allowed {
		if w != 0 {
			return protocol.TokenID(64*i + bits.TrailingZeros64(w))
		}
	}
	return 0
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

// penaliseGenerated applies frequency and presence penalty in place: of a token that was generated n times, n times the one and once the
// other.
func (s *Sampler) penaliseGenerated(logits []float32, generated []protocol.TokenID, p protocol.Sampling) {
	if p.FrequencyPenalty == 0 && p.PresencePenalty == 0 {
		return
	}
	if len(s.counts) < len(logits) {
		s.counts = make([]uint32, len(logits))
	}
	for _, t := range generated {
		if uint64(t) < uint64(len(logits)) {
			s.counts[t]++
		}
	}
	for _, t := range generated {
		if uint64(t) >= uint64(len(logits)) || s.counts[t] == 0 {
			continue
		}
		logits[t] -= float32(float32(s.counts[t]) * p.FrequencyPenalty)
		logits[t] -= p.PresencePenalty
		s.counts[t] = 0
	}
}
