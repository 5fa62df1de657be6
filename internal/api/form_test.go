// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
)

// callingTemplate is ChatML with tools in the manner of Qwen.
const callingTemplate = `{%- if tools %}{{ '<|im_start|>system\n' }}{% for tool in tools %}{{ tool | tojson }}{{ '\n' }}{% endfor %}{{ '<|im_end|>\n' }}{% endif -%}
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}
{%- for c in m.tool_calls %}{{ '<tool_call>\n{"name": "' + c.function.name + '", "arguments": ' }}{{ c.function.arguments | tojson }}{{ '}\n</tool_call>' }}{% endfor %}
{{- '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// calling is the tiny model with that template.
var calling = sync.OnceValues(func() (*gguf.File, *gguf.Manifest) {
	spec := testmodel.Default()
	spec.ChatTemplate, spec.Context = true, 1<<15
	f := must(gguf.Parse(testmodel.Bytes(spec)))
	f.Meta.Set("tokenizer.chat_template", callingTemplate)
	return f, must(gguf.BuildManifest(f))
})

// TestForms drives what is asked of an answer's form with OpenAI's library.
func TestForms(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, func(c *node.Config) { c.File, c.Manifest = calling() })
	_, url, _ := startServer(t, nodes[0], nil)
	ai := openAI(url)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	ask := func(change func(*openai.ChatCompletionNewParams)) openai.ChatCompletionNewParams {
		params := question()
		params.MaxCompletionTokens, params.Temperature = openai.Int(400), openai.Float(1.2)
		change(&params)
		return params
	}

	t.Run("schema", func(t *testing.T) {
		var schema any
		if err := json.Unmarshal([]byte(`{"type":"object","properties":{"city":{"type":"string","maxLength":20},"days":{"type":"array","items":{"type":"integer","minimum":1,"maximum":7},"minItems":1,"maxItems":3}},"required":["city","days"],"additionalProperties":false}`), &schema); err != nil {
			t.Fatal(err)
		}
		params := ask(func(p *openai.ChatCompletionNewParams) {
			p.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
				JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "plan", Schema: schema, Strict: openai.Bool(true)},
			}}
		})
		r, err := ai.Chat.Completions.New(ctx, params)
		if err != nil {
			t.Fatal(err)
		}
		var plan struct {
			City string
			Days []int
		}
		text := r.Choices[0].Message.Content
		if err := json.Unmarshal([]byte(text), &plan); err != nil || len(plan.Days) == 0 || slices.Max(plan.Days) > 7 || r.Choices[0].FinishReason != "stop" {
			t.Errorf("%s: %v, %+v", text, err, r.Choices[0])
		}
		if got := stream(ctx, t, ai, params); got.Choices[0].Message.Content != text {
			t.Errorf("streamed %q, whole %q", got.Choices[0].Message.Content, text)
		}
	})
	t.Run("object", func(t *testing.T) {
		r, err := ai.Chat.Completions.New(ctx, ask(func(p *openai.ChatCompletionNewParams) {
			p.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONObject: &shared.ResponseFormatJSONObjectParam{}}
			p.LogitBias = map[string]int64{"125": 20} // the closing brace: the tiny model would never come to an end
		}))
		if err != nil || r.Choices[0].FinishReason == "stop" && !json.Valid([]byte(r.Choices[0].Message.Content)) || !strings.HasPrefix(r.Choices[0].Message.Content, "{") {
			t.Errorf("%v, %v", r, err)
		}
	})
	t.Run("logprobs", func(t *testing.T) {
		params := ask(func(p *openai.ChatCompletionNewParams) {
			p.MaxCompletionTokens, p.Logprobs, p.TopLogprobs = openai.Int(9), openai.Bool(true), openai.Int(3)
		})
		r, err := ai.Chat.Completions.New(ctx, params)
		if err != nil {
			t.Fatal(err)
		}
		list := r.Choices[0].Logprobs.Content
		if len(list) != 9 {
			t.Fatalf("%d log probabilities of 9 tokens: %s", len(list), r.RawJSON())
		}
		var text []byte
		for _, l := range list {
			sum := 0.0
			for i, top := range l.TopLogprobs {
				sum += math.Exp(top.Logprob)
				if i > 0 && top.Logprob > l.TopLogprobs[i-1].Logprob {
					t.Errorf("not the likeliest first: %s", l.RawJSON())
				}
			}
			if len(l.TopLogprobs) != 3 || sum > 1.0001 || l.Logprob > l.TopLogprobs[0].Logprob {
				t.Errorf("%s", l.RawJSON())
			}
			for _, b := range l.Bytes {
				text = append(text, byte(b))
			}
		}
		if string([]rune(string(text))) != r.Choices[0].Message.Content {
			t.Errorf("tokens are %q, the content is %q", text, r.Choices[0].Message.Content)
		}
		streamed := 0
		s := ai.Chat.Completions.NewStreaming(ctx, params)
		for s.Next() {
			for _, c := range s.Current().Choices {
				streamed += len(c.Logprobs.Content)
			}
		}
		if s.Err() != nil || streamed != 9 {
			t.Errorf("%d log probabilities in a stream, %v", streamed, s.Err())
		}
		c, err := ai.Completions.New(ctx, openai.CompletionNewParams{
			Model: "tiny", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("the")}, MaxTokens: openai.Int(4), Logprobs: openai.Int(2),
		})
		if err != nil || len(c.Choices[0].Logprobs.Tokens) != 4 || len(c.Choices[0].Logprobs.TopLogprobs[0]) != 2 || c.Choices[0].Logprobs.TextOffset[0] != 0 {
			t.Errorf("%v, %v", c, err)
		}
	})
	t.Run("bias", func(t *testing.T) {
		r, err := ai.Chat.Completions.New(ctx, ask(func(p *openai.ChatCompletionNewParams) {
			p.MaxCompletionTokens, p.LogitBias = openai.Int(5), map[string]int64{"65": 100}
		}))
		if err != nil || r.Choices[0].Message.Content != "AAAAA" { // token 65 is that byte
			t.Errorf("a bias of 100 did not decide: %v, %v", r, err)
		}
		r, err = ai.Chat.Completions.New(ctx, ask(func(p *openai.ChatCompletionNewParams) {
			p.MaxCompletionTokens, p.LogitBias = openai.Int(200), map[string]int64{"65": 4}
			p.FrequencyPenalty, p.PresencePenalty = openai.Float(2), openai.Float(2)
		}))
		if err != nil || strings.Count(r.Choices[0].Message.Content, "A") > 20 {
			t.Errorf("penalties did not hold: %v, %v", r, err)
		}
	})
	t.Run("tools", func(t *testing.T) { testTools(ctx, t, ai, ask) })
}

// testTools makes the model call tools, and gives it what they return.
func testTools(ctx context.Context, t *testing.T, ai openai.Client, ask func(func(*openai.ChatCompletionNewParams)) openai.ChatCompletionNewParams) {
	tools := []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "get_weather", Parameters: shared.FunctionParameters{
			"type": "object", "properties": map[string]any{"city": map[string]any{"enum": []string{"Paris", "Rome"}}}, "required": []string{"city"},
		}}),
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "now"}),
	}
	params := ask(func(p *openai.ChatCompletionNewParams) {
		p.Tools = tools
		p.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: param.NewOpt("required")}
		p.ParallelToolCalls = openai.Bool(false)
	})
	r, err := ai.Chat.Completions.New(ctx, params)
	if err != nil {
		t.Fatal(err)
	}
	calls := r.Choices[0].Message.ToolCalls
	if len(calls) != 1 || r.Choices[0].FinishReason != "tool_calls" || calls[0].Function.Name != "get_weather" && calls[0].Function.Name != "now" || !json.Valid([]byte(calls[0].Function.Arguments)) || calls[0].ID == "" {
		t.Fatalf("%s", r.RawJSON())
	}
	acc := stream(ctx, t, ai, params)
	if got := acc.Choices[0].Message.ToolCalls; len(got) != 1 || got[0].Function.Name != calls[0].Function.Name || got[0].Function.Arguments != calls[0].Function.Arguments || acc.Choices[0].FinishReason != "tool_calls" {
		t.Errorf("streamed %+v, whole %+v", got, calls)
	}

	params.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "get_weather"})
	for seed := range int64(3) {
		params.Seed = openai.Int(seed)
		r, err := ai.Chat.Completions.New(ctx, params)
		if err != nil {
			t.Fatal(err)
		}
		var where struct{ City string }
		call := r.Choices[0].Message.ToolCalls[0].Function
		if err := json.Unmarshal([]byte(call.Arguments), &where); err != nil || call.Name != "get_weather" || where.City != "Paris" && where.City != "Rome" {
			t.Errorf("%s: %v", r.RawJSON(), err)
		}
	}

	// The result goes back, and an answer comes.
	params.Messages = append(params.Messages, r.Choices[0].Message.ToParam(), openai.ToolMessage("sunny", calls[0].ID))
	params.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: param.NewOpt("auto")}
	params.MaxCompletionTokens = openai.Int(5)
	if r, err := ai.Chat.Completions.New(ctx, params); err != nil || r.Choices[0].FinishReason != "length" {
		t.Errorf("%v, %v", r, err)
	}
}

// stream reads a whole stream.
func stream(ctx context.Context, t *testing.T, ai openai.Client, params openai.ChatCompletionNewParams) *openai.ChatCompletionAccumulator {
	t.Helper()
	var acc openai.ChatCompletionAccumulator
	s := ai.Chat.Completions.NewStreaming(ctx, params)
	for s.Next() {
		if !acc.AddChunk(s.Current()) {
			t.Fatalf("a chunk that does not fit: %s", s.Current().RawJSON())
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return &acc
}
