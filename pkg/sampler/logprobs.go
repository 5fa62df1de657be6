// SPDX-License-Identifier: MIT

package sampler

import (
	"math"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// appendLogprobs appends the log probability of token in raw, and those of the likeliest others, n at the most.
func (s *Sampler) appendLogprobs(dst []protocol.Logprob, token protocol.TokenID, n int) []protocol.Logprob {
	top := float32(math.Inf(-1))
	if len(s.raw) > 0 {
		top = s.raw[kernel.ArgMax(s.raw)]
	}
	norm := kernel.Log(max(s.weigh(s.raw, top, 1, 0), 1)) // the likeliest weighs 1
	value := func(x float32) float32 {
		if !(x > float32(math.Inf(-1))) { // also NaN
			return protocol.MinLogprob
		}
		if x == top {
			return float32(-norm)
		}
		return max(float32(float64(x)-float64(top)-norm), protocol.MinLogprob)
	}
	if uint64(token) >= uint64(len(s.raw)) {
		return append(dst, protocol.Logprob{Token: token, Value: protocol.MinLogprob})
	}
	dst = append(dst, protocol.Logprob{Token: token, Value: value(s.raw[token])})
	s.rank.reset(s.raw)
	for n > 0 {
		id, x, ok := s.rank.next()
		if !ok {
			break
		}
		if id != token {
			dst = append(dst, protocol.Logprob{Token: id, Value: value(x)})
			n--
		}
	}
	return dst
}
