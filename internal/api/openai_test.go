// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// openAI is OpenAI's own library, as an application would use it.
func openAI(url string, opts ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{option.WithBaseURL(url + "/v1/"), option.WithAPIKey("none"), option.WithMaxRetries(0)}, opts...)...)
}

// question is a conversation of several turns.
func question() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: "tiny",
		Messages: []openai.ChatCompletionMessageParamUnion{
			openai.SystemMessage("You are brief."), openai.UserMessage("What is AI?"), openai.AssistantMessage("A field."), openai.UserMessage("Of what?"),
		},
		MaxCompletionTokens: openai.Int(12), Temperature: openai.Float(0.8), TopP: openai.Float(0.9), Seed: openai.Int(7),
	}
}

// TestOpenAILibrary drives the endpoints with OpenAI's library for Go.
func TestOpenAILibrary(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	_, url, _ := startServer(t, nodes[0], nil)
	ai := openAI(url)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	models, err := ai.Models.List(ctx)
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != "tiny" {
		t.Fatalf("models: %v, %v", models, err)
	}
	if m, err := ai.Models.Get(ctx, "tiny"); err != nil || m.ID != "tiny" {
		t.Errorf("model: %v, %v", m, err)
	}

	whole, err := ai.Chat.Completions.New(ctx, question())
	if err != nil {
		t.Fatal(err)
	}
	c := whole.Choices[0]
	if c.Message.Role != "assistant" || c.Message.Content == "" || whole.Usage.CompletionTokens != 12 || c.FinishReason != "length" ||
		whole.Usage.PromptTokens < 20 || whole.Usage.TotalTokens != whole.Usage.PromptTokens+12 {
		t.Errorf("chat completion: %s", whole.RawJSON())
	}

	t.Run("stream", func(t *testing.T) {
		params := question()
		params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
		stream := ai.Chat.Completions.NewStreaming(ctx, params)
		var acc openai.ChatCompletionAccumulator
		for stream.Next() {
			if !acc.AddChunk(stream.Current()) {
				t.Fatalf("a chunk that does not fit: %s", stream.Current().RawJSON())
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		if got := acc.Choices[0]; got.Message.Content != c.Message.Content || got.FinishReason != "length" || got.Message.Role != "assistant" {
			t.Errorf("streamed %q, whole %q", got.Message.Content, c.Message.Content)
		}
		if acc.Usage.TotalTokens != whole.Usage.TotalTokens {
			t.Errorf("usage of the stream: %+v, want %+v", acc.Usage, whole.Usage)
		}
	})
	t.Run("several answers", func(t *testing.T) {
		params := question()
		params.N = openai.Int(3)
		r, err := ai.Chat.Completions.New(ctx, params)
		if err != nil || len(r.Choices) != 3 || r.Choices[0].Message.Content != c.Message.Content || r.Usage.CompletionTokens != 36 {
			t.Fatalf("%v, %v", r, err)
		}
		params.N, params.Seed = openai.Int(1), openai.Int(9)
		third, err := ai.Chat.Completions.New(ctx, params)
		if err != nil || third.Choices[0].Message.Content != r.Choices[2].Message.Content {
			t.Errorf("the third answer is not that of the seed two higher: %v", err)
		}
	})
	t.Run("stop", func(t *testing.T) {
		params := question()
		stop := string([]rune(c.Message.Content)[3:5])
		params.Stop = openai.ChatCompletionNewParamsStopUnion{OfStringArray: []string{"never there", stop}}
		r, err := ai.Chat.Completions.New(ctx, params)
		want, _, _ := strings.Cut(c.Message.Content, stop)
		if err != nil || r.Choices[0].FinishReason != "stop" || r.Choices[0].Message.Content != want {
			t.Errorf("%v, %v", r, err)
		}
	})
	t.Run("completion", func(t *testing.T) {
		params := openai.CompletionNewParams{
			Model: "tiny", Prompt: openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{"the", "one and"}},
			Temperature: openai.Float(0), MaxTokens: openai.Int(5),
		}
		r, err := ai.Completions.New(ctx, params)
		if err != nil || len(r.Choices) != 2 || r.Usage.CompletionTokens != 10 || r.Choices[1].Text == "" {
			t.Fatalf("%v, %v", r, err)
		}
		texts := make([]string, 2)
		stream := ai.Completions.NewStreaming(ctx, params)
		for stream.Next() {
			for _, c := range stream.Current().Choices {
				texts[c.Index] += c.Text
			}
		}
		if stream.Err() != nil || !slices.Equal(texts, []string{r.Choices[0].Text, r.Choices[1].Text}) {
			t.Errorf("streamed %q, %v", texts, stream.Err())
		}
	})
	t.Run("errors", func(t *testing.T) {
		params := question()
		params.Model = "gpt-4"
		_, err := ai.Chat.Completions.New(ctx, params)
		var e *openai.Error
		if !errors.As(err, &e) || e.StatusCode != 404 || e.Code != "model_not_found" || e.Type != "invalid_request_error" || e.Param != "model" {
			t.Errorf("another model: %v", err)
		}
		params = question()
		params.Messages[0] = openai.SystemMessage(strings.Repeat("word ", 40_000))
		_, err = ai.Chat.Completions.New(ctx, params)
		if !errors.As(err, &e) || e.StatusCode != 400 || e.Code != "context_length_exceeded" {
			t.Errorf("a prompt that is too long: %v", err)
		}
	})
	eventually(t, "the nodes have no session", func() bool { return idle(nodes) })
}
