// SPDX-License-Identifier: MIT

package client

import (
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

// Ends are a model's embedding, final norm and head on this machine. With them and a sampler of its own a generation gives nodes hidden states
// only: no token, neither of the prompt nor of the answer, leaves this process. Many generations share them.
type Ends struct {
	Model         pipeline.EndsModel
	Hidden, Vocab int // the model's width, and how many tokens it knows
}

// generation returns the ends of one generation.
func (e *Ends) generation(p protocol.Sampling) *pipeline.Ends {
	s := sampler.New(e.Vocab)
	return pipeline.NewEnds(pipeline.EndsConfig{
		Model: e.Model, Hidden: e.Hidden, Vocab: e.Vocab, Sampling: p,
		Draw: func(logits []float32, history []protocol.TokenID, p protocol.Sampling) protocol.TokenID {
			return s.Sample(logits, history, uint32(len(history)), p)
		},
	})
}
