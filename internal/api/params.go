// SPDX-License-Identifier: MIT

package api

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// Tokens generated where a request does not say: KV memory is reserved for them, so a conversation does not get the whole context.
const (
	defaultChatTokens       = 1024
	defaultCompletionTokens = 16 // as OpenAI documents it
)

// params are a request's parameters.
type params struct {
	model        string // "": the only one
	stream       bool
	includeUsage bool
	n            int
	maxTokens    uint32
	sampling     protocol.Sampling
	stop         []string

	schema  []byte // that the answer is held to; nil: none
	tools   []tokenizer.Tool
	calling client.Calling

	messages []tokenizer.Message // of a chat
	prompts  []prompt            // of a completion
}

// prompt is what a completion continues: text, or tokens in its place.
type prompt struct {
	text   string
	tokens []protocol.TokenID
}

// parseChat reads the parameters of a chat completion.
func parseChat(f fields) (*params, error) {
	p := &params{maxTokens: defaultChatTokens}
	err := firstError(
		func() error { return p.common(f) },
		func() error { return p.tokens(f, "max_tokens") },
		func() error { return p.tokens(f, "max_completion_tokens") },
		func() error { return p.conversation(f) },
		func() error { return p.chatLogprobs(f) },
		func() error { return p.toolbox(f) },
		func() error { return p.format(f) },
		func() error { return f.only("modalities", `["text"]`) },
		f.rest,
	)
	return p, err
}

// parseCompletion reads the parameters of a completion.
func parseCompletion(f fields) (*params, error) {
	p := &params{maxTokens: defaultCompletionTokens}
	err := firstError(
		func() error { return p.common(f) },
		func() error { return p.tokens(f, "max_tokens") },
		func() error { return p.texts(f) },
		func() error { return f.only("echo", "false") },
		func() error { return f.only("best_of", fmt.Sprint(p.n)) },
		func() error { return f.only("suffix", `""`) },
		func() error { return p.textLogprobs(f) },
		f.rest,
	)
	if err == nil && p.n*len(p.prompts) > maxChoices {
		err = invalid("prompt", "out_of_range", "%d prompts with n of %d: %d answers at the most", len(p.prompts), p.n, maxChoices)
	}
	return p, err
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// common reads what all endpoints have.
func (p *params) common(f fields) error {
	n := int64(1)
	var options struct {
		IncludeUsage       bool `json:"include_usage"`
		IncludeObfuscation bool `json:"include_obfuscation"`
	}
	return firstError(
		func() error { _, err := f.decode("model", "a model's name", &p.model); return err },
		func() error { _, err := f.decode("stream", "true or false", &p.stream); return err },
		func() error {
			there, err := f.decode("stream_options", "an object", &options)
			if there && !p.stream {
				return invalid("stream_options", "invalid_request", "stream_options: only with stream: true")
			}
			p.includeUsage = options.IncludeUsage
			return err
		},
		func() error { _, err := f.integer("n", &n, 1, maxChoices); p.n = int(n); return err },
		func() error { return p.stops(f) },
		func() error { return p.sample(f) },
	)
}

// tokens reads a limit on generated tokens.
func (p *params) tokens(f fields, name string) error {
	n := int64(0)
	there, err := f.integer(name, &n, 1, math.MaxInt32)
	if there {
		p.maxTokens = uint32(min(n, protocol.MaxPositions))
	}
	return err
}

// stops reads the texts that end an answer: one or a list.
func (p *params) stops(f fields) error {
	raw, ok := f.take("stop")
	if !ok {
		return nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		p.stop = []string{one}
	} else if json.Unmarshal(raw, &p.stop) != nil {
		return invalid("stop", "invalid_type", "stop: want a text or a list of texts")
	}
	if len(p.stop) > maxStops {
		return invalid("stop", "out_of_range", "stop: %d texts, want %d at the most", len(p.stop), maxStops)
	}
	for _, s := range p.stop {
		if s == "" || len(s) > maxStop {
			return invalid("stop", "out_of_range", "stop: a text of %d bytes, want 1 to %d", len(s), maxStop)
		}
	}
	return nil
}

// sample reads what turns logits into tokens.
func (p *params) sample(f fields) error {
	s := &p.sampling
	s.Temperature, s.TopP = 1, 1
	topK, lastN, seed := int64(0), int64(sampler.DefaultRepeatLastN), int64(0)
	err := firstError(
		func() error { _, err := f.float("temperature", &s.Temperature, 0, 100); return err },
		func() error { _, err := f.float("top_p", &s.TopP, 0, 1); return err },
		func() error { _, err := f.float("min_p", &s.MinP, 0, 1); return err },
		func() error { _, err := f.float("repeat_penalty", &s.RepeatPenalty, 0.01, 100); return err },
		func() error { _, err := f.integer("top_k", &topK, -1, math.MaxInt32); return err },
		func() error { _, err := f.integer("repeat_last_n", &lastN, -1, protocol.MaxPositions); return err },
		func() error {
			there, err := f.integer("seed", &seed, math.MinInt64, math.MaxInt64)
			if !there && err == nil {
				var b [8]byte
				_, err = rand.Read(b[:])
				seed = int64(binary.LittleEndian.Uint64(b[:]))
			}
			return err
		},
		func() error { return p.penalties(f) },
	)
	if s.TopP == 0 {
		s.TopP = math.SmallestNonzeroFloat32 // the likeliest token alone; 0 on the wire is all of them
	}
	s.TopK, s.Seed = uint32(max(topK, 0)), uint64(seed) // -1: all, as llama-server has it
	switch {
	case lastN < 0:
		s.RepeatLastN = protocol.MaxPositions
	case lastN == 0:
		s.RepeatPenalty = 0
	default:
		s.RepeatLastN = uint32(lastN)
	}
	return err
}

// choiceSampling is the sampling of the i-th answer to a prompt: each has a seed of its own.
func (p *params) choiceSampling(i int) protocol.Sampling {
	s := p.sampling
	s.Seed += uint64(i)
	return s
}

// texts reads a completion's prompts: a text, a list of texts, a list of tokens, or a list of those.
func (p *params) texts(f fields) error {
	raw, ok := f.take("prompt")
	if !ok {
		return invalid("prompt", "missing_parameter", "prompt: want what to continue")
	}
	var (
		one   string
		many  []string
		ids   []protocol.TokenID
		lists [][]protocol.TokenID
	)
	switch {
	case json.Unmarshal(raw, &one) == nil:
		p.prompts = []prompt{{text: one}}
	case json.Unmarshal(raw, &many) == nil:
		for _, s := range many {
			p.prompts = append(p.prompts, prompt{text: s})
		}
	case json.Unmarshal(raw, &ids) == nil:
		p.prompts = []prompt{{tokens: ids}}
	case json.Unmarshal(raw, &lists) == nil:
		for _, l := range lists {
			p.prompts = append(p.prompts, prompt{tokens: l})
		}
	default:
		return invalid("prompt", "invalid_type", "prompt: want a text, a list of texts, or tokens")
	}
	if len(p.prompts) == 0 {
		return invalid("prompt", "out_of_range", "prompt: an empty list")
	}
	return nil
}
