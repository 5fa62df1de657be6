// SPDX-License-Identifier: MIT

package api

import (
	"slices"
	"unicode/utf8"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// tokenLogprob is a token and how likely it was.
type tokenLogprob struct {
	Token   string  `json:"token"`
	Logprob float32 `json:"logprob"`
	Bytes   []int   `json:"bytes"` // a token need not be whole characters
}

type contentLogprob struct {
	tokenLogprob
	Top []tokenLogprob `json:"top_logprobs"`
}

// chatLogprobs are those of the tokens that a message's content was made of.
type chatLogprobs struct {
	Content []contentLogprob `json:"content"`
	Refusal *struct{}        `json:"refusal"`
}

// textLogprobs are those of a completion.
type textLogprobs struct {
	Tokens     []string             `json:"tokens"`
	Logprobs   []float32            `json:"token_logprobs"`
	Top        []map[string]float32 `json:"top_logprobs"`
	TextOffset []int                `json:"text_offset"`
}

func describeToken(t *tokenizer.Tokenizer, p protocol.Logprob) tokenLogprob {
	piece := t.Piece(p.Token)
	l := tokenLogprob{Token: string([]rune(string(piece))), Logprob: p.Value, Bytes: make([]int, len(piece))}
	for i, b := range piece {
		l.Bytes[i] = int(b)
	}
	return l
}

// likeliest returns the n likeliest tokens, the drawn one among them if it is.
func likeliest(p *client.TokenLogprobs, n int) []protocol.Logprob {
	list := append([]protocol.Logprob{p.Logprob}, p.Others...)
	slices.SortStableFunc(list, func(a, b protocol.Logprob) int {
		switch {
		case a.Value > b.Value || a.Value == b.Value && a.Token < b.Token:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	return list[:min(n, len(list))]
}

// chatLogprobsOf words log probabilities as chat completions have them; nil: there are none.
func chatLogprobsOf(t *tokenizer.Tokenizer, list []client.TokenLogprobs, n int) *chatLogprobs {
	var out *chatLogprobs
	for i := range list {
		if !list[i].Content {
			continue
		}
		if out == nil {
			out = &chatLogprobs{}
		}
		c := contentLogprob{tokenLogprob: describeToken(t, list[i].Logprob), Top: []tokenLogprob{}}
		for _, p := range likeliest(&list[i], n) {
			c.Top = append(c.Top, describeToken(t, p))
		}
		out.Content = append(out.Content, c)
	}
	return out
}

// textLogprobsOf words them as completions have them. Their texts begin at offset characters; the end is returned.
func textLogprobsOf(t *tokenizer.Tokenizer, list []client.TokenLogprobs, n, offset int) (*textLogprobs, int) {
	if len(list) == 0 {
		return nil, offset
	}
	out := &textLogprobs{}
	for i := range list {
		d := describeToken(t, list[i].Logprob)
		out.Tokens, out.Logprobs = append(out.Tokens, d.Token), append(out.Logprobs, d.Logprob)
		top := map[string]float32{}
		for _, p := range likeliest(&list[i], n) {
			top[describeToken(t, p).Token] = p.Value
		}
		out.Top, out.TextOffset = append(out.Top, top), append(out.TextOffset, offset)
		offset += utf8.RuneCountInString(d.Token)
	}
	return out, offset
}
