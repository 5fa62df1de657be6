// SPDX-License-Identifier: MIT

package layers_test

import (
	"math"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func gptOss() variant {
	return variant{
		name: "gpt-oss", arch: "gpt-oss", layers: 4, neox: true, qkvBias: true, allBiases: true, activate: clamped, experts: 5, used: 2,
		window: 4, local: func(i int) bool { return i%2 == 0 }, magnitude: 0.1*math.Log(32) + 1,
		meta: map[string]any{
			"attention.sliding_window": uint32(4), "expert_count": uint32(5), "expert_used_count": uint32(2), "expert_feed_forward_length": uint32(varFFN),
			"rope.freq_base": float32(150000), "rope.scaling.type": "yarn", "rope.scaling.factor": float32(32), "rope.scaling.original_context_length": uint32(64),
		},
		turn: func(i int, _ bool) float64 { return yarnTurn(150000, 32, 64, i, false) },
	}
}

// TestGptOss is TestVariants for gpt-oss, and once more with experts as its files have them.
func TestGptOss(t *testing.T) {
	t.Parallel()
	v := gptOss()
	v.check(t)
	tokens := []protocol.TokenID{3, 41, 7, 7, 0, 22, 13, 47, 5, 30, 11, 2}
	checkSplits(t, v.file(t, quant.MXFP4), tokens, layers.Options{})
}
