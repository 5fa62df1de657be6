// SPDX-License-Identifier: MIT

package api

import (
	"encoding/json"

	"github.com/shardnode/shardnode/internal/client"
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
		u.PromptTokens += len(p)
	}
	for _, r := range results {
		u.CompletionTokens += len(r.Tokens)
	}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	return u
}

// shape is how an endpoint words its answers.
type shape struct {
	idPrefix string
	object   string // of a whole answer
	chunk    string // of a part of one

	whole func(i int, r *client.Result) any // a complete choice
	first func(i int) any                   // what a streamed choice begins with; nil: nothing
	delta func(i int, text string) any      // its next text
	last  func(i int, reason string) any    // its end
}

type chatMessage struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"`
}

type chatChoice struct {
	Index        int         `json:"index"`
	Message      chatMessage `json:"message"`
	Logprobs     *struct{}   `json:"logprobs"`
	FinishReason string      `json:"finish_reason"`
}

type chatDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatChunk struct {
	Index        int       `json:"index"`
	Delta        chatDelta `json:"delta"`
	Logprobs     *struct{} `json:"logprobs"`
	FinishReason *string   `json:"finish_reason"`
}

// chatShape is that of chat completions.
var chatShape = shape{
	idPrefix: "chatcmpl-", object: "chat.completion", chunk: "chat.completion.chunk",
	whole: func(i int, r *client.Result) any {
		return &chatChoice{Index: i, Message: chatMessage{Role: "assistant", Content: r.Text}, FinishReason: string(r.Report.Reason)}
	},
	first: func(i int) any {
		return &chatChunk{Index: i, Delta: chatDelta{Role: "assistant", Content: new(string)}}
	},
	delta: func(i int, text string) any { return &chatChunk{Index: i, Delta: chatDelta{Content: &text}} },
	last:  func(i int, reason string) any { return &chatChunk{Index: i, FinishReason: &reason} },
}

// textChoice is a choice of a completion, whole or a part.
type textChoice struct {
	Text         string    `json:"text"`
	Index        int       `json:"index"`
	Logprobs     *struct{} `json:"logprobs"`
	FinishReason *string   `json:"finish_reason"`
}

// textShape is that of completions.
var textShape = shape{
	idPrefix: "cmpl-", object: "text_completion", chunk: "text_completion",
	whole: func(i int, r *client.Result) any {
		reason := string(r.Report.Reason)
		return &textChoice{Index: i, Text: r.Text, FinishReason: &reason}
	},
	delta: func(i int, text string) any { return &textChoice{Index: i, Text: text} },
	last:  func(i int, reason string) any { return &textChoice{Index: i, FinishReason: &reason} },
}
