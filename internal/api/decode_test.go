// SPDX-License-Identifier: MIT

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

// chatOf parses a chat with these parameters beside its message.
func chatOf(t *testing.T, params string) (*params, error) {
	t.Helper()
	body := `{"messages": [{"role": "user", "content": "Hi"}]`
	if params != "" {
		body += ", " + params
	}
	f, err := parseFields([]byte(body + "}"))
	if err != nil {
		t.Fatal(err)
	}
	return parseChat(f)
}

// TestSampling: how parameters of HTTP become those of the protocol.
func TestSampling(t *testing.T) {
	t.Parallel()
	base := protocol.Sampling{Temperature: 1, TopP: 1, RepeatLastN: 64, Seed: 5}
	for _, c := range []struct {
		params string
		want   func(*protocol.Sampling)
	}{
		{``, func(*protocol.Sampling) {}},
		{`"temperature": 0`, func(s *protocol.Sampling) { s.Temperature = 0 }},
		{`"temperature": null`, func(*protocol.Sampling) {}},
		{`"top_p": 0`, func(s *protocol.Sampling) { s.TopP = math.SmallestNonzeroFloat32 }},
		{`"top_p": 0.5, "min_p": 0.25, "top_k": 40`, func(s *protocol.Sampling) { s.TopP, s.MinP, s.TopK = 0.5, 0.25, 40 }},
		{`"top_k": -1`, func(*protocol.Sampling) {}},
		{`"repeat_penalty": 1.5`, func(s *protocol.Sampling) { s.RepeatPenalty = 1.5 }},
		{`"repeat_penalty": 1.5, "repeat_last_n": 8`, func(s *protocol.Sampling) { s.RepeatPenalty, s.RepeatLastN = 1.5, 8 }},
		{`"repeat_penalty": 1.5, "repeat_last_n": -1`, func(s *protocol.Sampling) { s.RepeatPenalty, s.RepeatLastN = 1.5, protocol.MaxPositions }},
		{`"repeat_penalty": 1.5, "repeat_last_n": 0`, func(s *protocol.Sampling) { s.RepeatLastN = 0 }},
		{`"presence_penalty": -2, "frequency_penalty": 0.5`, func(s *protocol.Sampling) { s.PresencePenalty, s.FrequencyPenalty = -2, 0.5 }},
		{`"logit_bias": {"7": -100, "5": 1.5}`, func(s *protocol.Sampling) { s.Bias = []protocol.Bias{{Token: 5, Value: 1.5}, {Token: 7, Value: -100}} }},
		{`"logprobs": true`, func(s *protocol.Sampling) { s.Logprobs = 1 }},
		{`"logprobs": true, "top_logprobs": 20`, func(s *protocol.Sampling) { s.Logprobs = 21 }},
		{`"logprobs": false, "top_logprobs": 0`, func(*protocol.Sampling) {}},
		{`"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}`, func(*protocol.Sampling) {}},
	} {
		want := base
		c.want(&want)
		p, err := chatOf(t, strings.TrimPrefix(c.params+`, "seed": 5`, ", "))
		if err != nil {
			t.Errorf("%s: %v", c.params, err)
			continue
		}
		if d := cmp.Diff(want, p.sampling); d != "" {
			t.Errorf("%s: %s", c.params, d)
		}
	}
	if p, err := chatOf(t, `"seed": -1`); err != nil || p.sampling.Seed != math.MaxUint64 {
		t.Errorf("a negative seed: %+v, %v", p, err)
	}
	one, err := chatOf(t, "")
	other, err2 := chatOf(t, "")
	if errors.Join(err, err2) != nil || one.sampling.Seed == other.sampling.Seed {
		t.Error("two requests without a seed have the same")
	}
	if one.n = 2; !cmp.Equal(one.choiceSampling(0), one.sampling) || one.choiceSampling(1).Seed != one.sampling.Seed+1 {
		t.Error("the answers' seeds do not count up from the request's")
	}
}

// TestRefusedForms: what is asked of an answer's form is checked before anything is generated.
func TestRefusedForms(t *testing.T) {
	t.Parallel()
	const tool = `"tools": [{"type": "function", "function": {"name": "f"}}]`
	for params, want := range map[string]string{
		`"logprobs": 1`:                                                           "logprobs: want true or false",
		`"top_logprobs": 3`:                                                       "top_logprobs: only with logprobs: true",
		`"logprobs": true, "top_logprobs": 21`:                                    "top_logprobs: 21 is out of range",
		`"presence_penalty": 2.5`:                                                 "presence_penalty: 2.5 is out of range",
		`"logit_bias": {"x": 1}`:                                                  `"x" is no token's number`,
		`"logit_bias": {"1": 101}`:                                                "101 for token 1 is out of range",
		`"logit_bias": {"1": 1, "01": 2}`:                                         "token 1 is there twice",
		`"logit_bias": []`:                                                        "logit_bias: want an object",
		`"response_format": {"type": "xml"}`:                                      "response_format.type: want text, json_object or json_schema",
		`"response_format": {"type": "json_schema"}`:                              "response_format.json_schema.schema: want a JSON schema",
		`"response_format": {"type": "json_object"}, ` + tool:                     "response_format: not supported together with tools",
		`"tools": [{"type": "web_search"}]`:                                       "tools[0]: want an object of type function",
		`"tools": [{"type": "function", "function": {"name": "a b"}}]`:            "tools[0].function.name: want 1 to 64",
		`"tool_choice": "required"`:                                               "tool_choice: only with tools",
		`"tool_choice": "always", ` + tool:                                        "tool_choice: want none, auto, required, or a function",
		`"tool_choice": {"type": "function", "function": {"name": "g"}}, ` + tool: "there is no tool g",
	} {
		_, err := chatOf(t, params)
		var e *apiError
		if !errors.As(err, &e) || e.status != 400 || !strings.Contains(e.message, want) {
			t.Errorf("%s: %v, want %q", params, err, want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	k, err := parseKeys("# ours\n\n sk-0123456789abcdef   anna\nsk-fedcba9876543210\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"sk-0123456789abcdef": "anna", "sk-fedcba9876543210": "line-4", "": "", "sk-0123456789abcde": ""} {
		if name, ok := k.name(key); name != want || ok != (want != "") {
			t.Errorf("%q: %q, %t", key, name, ok)
		}
	}
	for text, want := range map[string]string{
		"": "no keys", "# none\n": "no keys", "short": "line 1", "sk-0123456789abcdef a b": "KEY NAME", "sk-0123456789abcdef\nsk-0123456789abcdef x": "line 2: this key is there twice",
	} {
		if _, err := parseKeys(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadKeys(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzRequest feeds any body to both endpoints: what is accepted is within its bounds, what is not has an error that says 400.
func FuzzRequest(f *testing.F) {
	files, _ := filepath.Glob("testdata/transcripts/*.txt")
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for line := range bytes.Lines(raw) {
			if bytes.HasPrefix(line, []byte("{")) {
				f.Add(line)
			}
		}
	}
	f.Add([]byte(`{"messages": [{"role": "user", "content": "x", "a": 1}], "n": 1e1, "seed": 9223372036854775808}`))
	f.Add([]byte(`{"prompt": [[1, 2], [3]], "stop": "x", "logit_bias": {}, "top_k": 2.0}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := parseFields(body); err != nil {
			checkRefusal(t, err)
			return
		}
		for _, parse := range []func(fields) (*params, error){parseChat, parseCompletion} {
			again, _ := parseFields(body)
			p, err := parse(again)
			if err != nil {
				checkRefusal(t, err)
				continue
			}
			switch err := sampler.Validate(p.sampling); {
			case err != nil:
				t.Fatalf("sampling: %v", err)
			case p.n < 1 || p.n*max(len(p.prompts), 1) > maxChoices || len(p.stop) > maxStops || p.maxTokens < 1 || len(p.messages) > maxMessages:
				t.Fatalf("out of bounds: %+v", p)
			case len(p.messages) == 0 && len(p.prompts) == 0:
				t.Fatal("nothing to answer")
			case len(again) != 0 && json.Valid(body):
				for name, raw := range again {
					if string(raw) != "null" {
						t.Fatalf("%q was ignored", name)
					}
				}
			}
		}
	})
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var e *apiError
	if !errors.As(err, &e) || e.status != 400 || e.message == "" || e.code == "" || len(e.param) > 200 {
		t.Fatalf("not an error for a client: %v", err)
	}
}
