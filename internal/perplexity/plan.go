// SPDX-License-Identifier: MIT

// Package perplexity measures how well a model predicts a text, as llama.cpp's llama-perplexity does, so that figures of both can be
// compared: the text is cut into chunks of one context each, and of each chunk the second half is scored. It computes no logits: the
// caller runs the model over [Plan.Chunk] and hands each row to [Estimate.Add]. The coordinator calls it. A [Plan] does not change once
// made; an [Estimate] belongs to one goroutine.
package perplexity

import (
	"fmt"

	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// MinContext is the smallest context: with less, nearly nothing is scored.
const MinContext = 8

// Plan is a text cut into chunks.
type Plan struct {
	tokens  []protocol.TokenID
	context int
	bos     []protocol.TokenID // takes the place of each chunk's first token; empty for models that begin without one
}

// NewPlan cuts the text. What is left behind the last whole chunk is not used.
func NewPlan(t *tokenizer.Tokenizer, text string, context int) (*Plan, error) {
	if context < MinContext {
		return nil, fmt.Errorf("a context of %d tokens: want at least %d", context, MinContext)
	}
	p := &Plan{context: context}
	if bos, ok := t.BOS(); ok && t.AddsBOS() {
		p.bos = []protocol.TokenID{bos}
	}
	// Special tokens in the text are text. An end token, where the model wants one, would stand behind the last chunk at best.
	p.tokens = append(p.tokens, p.bos...)
	p.tokens = append(p.tokens, t.Encode(text, tokenizer.EncodeOptions{})...)
	if p.Chunks() == 0 {
		return nil, fmt.Errorf("the text has %d tokens, which is less than one context of %d: give a longer text or a smaller context", len(p.tokens), context)
	}
	return p, nil
}

// Tokens returns the tokens of the text.
func (p *Plan) Tokens() int { return len(p.tokens) }

// Chunks returns the number of chunks.
func (p *Plan) Chunks() int { return len(p.tokens) / p.context }

// Scored returns how many tokens of each chunk are scored.
func (p *Plan) Scored() int { return p.context - p.context/2 - 1 }

// Chunk returns what the model reads of chunk i, the first row whose prediction is scored, and what follows that row and each one after
// it: next[k] follows input[first+k]. The chunk's last token is only predicted, never read.
func (p *Plan) Chunk(i int) (input []protocol.TokenID, first int, next []protocol.TokenID) {
	chunk := p.tokens[i*p.context:][:p.context]
	input = append(input, chunk[:p.context-1]...)
	copy(input, p.bos)
	first = p.context / 2
	return input, first, chunk[first+1:]
}
