// SPDX-License-Identifier: MIT

package api

import (
	"crypto/rand"
	"encoding/json"
	"strings"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// response is a whole answer or a chunk of one, of either endpoint.
type response struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"` // Unix time of the request
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"` // model ID and numerics: with the same one, the same seed gives the same answer
	Choices     []any  `json:"choices"`
	Usage       any    `json:"usage,omitempty"` // *usage, or null in the chunks before it
}

// null is a value that is there and empty.
var null = json.RawMessage("null")

// usage counts tokens.
type usage struct {
	PromptTokens     int `json:"prompt_tokens"` // each prompt once, however many answers it has
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

// count sums up a job's tokens.
func count(j *job, results []*client.Result) *usage {
	u := &usage{}
	for _, p := range j.prompts {
		u.PromptTokens += len(p.Tokens)
	}
	for _, r := range results {
		u.CompletionTokens += len(r.Tokens)
	}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	return u
}

// delta is what came of an answer: text, reasoning or a call.
type delta struct {
	text, reasoning string
	call            *tokenizer.ToolCall
}

// pending is what a stream remembers of an answer.
type pending struct {
	logprobs []client.TokenLogprobs // not sent yet
	offset   int                    // characters sent with their log probabilities
	calls    int                    // sent
}

// shape is how an endpoint words its answers.
type shape struct {
	idPrefix string
	object   string // of a whole answer
	chunk    string // of a part of one

	whole func(j *job, i int, r *client.Result) any             // a complete choice
	first func(i int) any                                       // what a streamed choice begins with; nil: nothing
	delta func(j *job, i int, d delta, p *pending) any          // what comes next in it, with what is pending
	last  func(j *job, i int, r *client.Result, p *pending) any // its end
}

type toolCall struct {
	Index    *int   `json:"index,omitempty"` // of a part
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// newToolCall gives a call its ID.
func newToolCall(c *tokenizer.ToolCall) toolCall {
	t := toolCall{ID: "call_" + strings.ToLower(rand.Text()), Type: "function"}
	t.Function.Name, t.Function.Arguments = c.Name, string(c.Arguments)
	return t
}

type chatMessage struct {
	Role      string     `json:"role"`
	Content   *string    `json:"content"`
	Reasoning string     `json:"reasoning_content,omitempty"`
	Refusal   *string    `json:"refusal"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      chatMessage   `json:"message"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason string        `json:"finish_reason"`
}

type chatDelta struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	Reasoning string     `json:"reasoning_content,omitempty"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

type chatChunk struct {
	Index        int           `json:"index"`
	Delta        chatDelta     `json:"delta"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

// finishReason is why an answer ended.
func finishReason(r *client.Result) string {
	if len(r.Calls) > 0 {
		return "tool_calls"
	}
	return string(r.Report.Reason)
}

// chatShape is that of chat completions.
var chatShape = shape{
	idPrefix: "chatcmpl-", object: "chat.completion", chunk: "chat.completion.chunk",
	whole: func(j *job, i int, r *client.Result) any {
		m := chatMessage{Role: "assistant", Reasoning: r.Reasoning}
		for k := range r.Calls {
			m.ToolCalls = append(m.ToolCalls, newToolCall(&r.Calls[k]))
		}
		if r.Text != "" || len(r.Calls) == 0 {
			m.Content = &r.Text
		}
		return &chatChoice{Index: i, Message: m, Logprobs: j.chatLogprobs(r.Logprobs), FinishReason: finishReason(r)}
	},
	first: func(i int) any {
		return &chatChunk{Index: i, Delta: chatDelta{Role: "assistant", Content: new(string)}}
	},
	delta: func(j *job, i int, d delta, p *pending) any {
		c := &chatChunk{Index: i, Delta: chatDelta{Reasoning: d.reasoning}}
		switch {
		case d.call != nil:
			t, n := newToolCall(d.call), p.calls
			t.Index = &n
			p.calls++
			c.Delta.ToolCalls = []toolCall{t}
		case d.text != "":
			c.Delta.Content = &d.text
			c.Logprobs, p.logprobs = j.chatLogprobs(p.logprobs), nil
		}
		return c
	},
	last: func(j *job, i int, r *client.Result, p *pending) any {
		reason := finishReason(r)
		return &chatChunk{Index: i, Logprobs: j.chatLogprobs(p.logprobs), FinishReason: &reason}
	},
}

// chatLogprobs words log probabilities, if the request asks for them.
func (j *job) chatLogprobs(list []client.TokenLogprobs) *chatLogprobs {
	return chatLogprobsOf(j.model.Tokenizer, list, int(j.params.sampling.Logprobs)-1)
}

func (j *job) textLogprobs(list []client.TokenLogprobs, offset int) (*textLogprobs, int) {
	return textLogprobsOf(j.model.Tokenizer, list, int(j.params.sampling.Logprobs)-1, offset)
}

// textChoice is a choice of a completion, whole or a part.
type textChoice struct {
	Text         string        `json:"text"`
	Index        int           `json:"index"`
	Logprobs     *textLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

// textShape is that of completions.
var textShape = shape{
	idPrefix: "cmpl-", object: "text_completion", chunk: "text_completion",
	whole: func(j *job, i int, r *client.Result) any {
		reason := string(r.Report.Reason)
		c := &textChoice{Index: i, Text: r.Text, FinishReason: &reason}
		c.Logprobs, _ = j.textLogprobs(r.Logprobs, 0)
		return c
	},
	delta: func(j *job, i int, d delta, p *pending) any {
		c := &textChoice{Index: i, Text: d.text}
		c.Logprobs, p.offset = j.textLogprobs(p.logprobs, p.offset)
		p.logprobs = nil
		return c
	},
	last: func(j *job, i int, r *client.Result, p *pending) any {
		reason := string(r.Report.Reason)
		c := &textChoice{Index: i, FinishReason: &reason}
		c.Logprobs, p.offset = j.textLogprobs(p.logprobs, p.offset)
		return c
	},
}
