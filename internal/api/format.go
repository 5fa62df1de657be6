// SPDX-License-Identifier: MIT

package api

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/jsonschema"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// penalties reads what is added to logits.
func (p *params) penalties(f fields) error {
	return firstError(
		func() error {
			_, err := f.float("presence_penalty", &p.sampling.PresencePenalty, -2, 2)
			return err
		},
		func() error {
			_, err := f.float("frequency_penalty", &p.sampling.FrequencyPenalty, -2, 2)
			return err
		},
		func() error { return p.bias(f) },
	)
}

// bias reads logit_bias: an object of values by token.
func (p *params) bias(f fields) error {
	var values map[string]float64
	if _, err := f.decode("logit_bias", "an object of numbers by token", &values); err != nil {
		return err
	}
	if len(values) > protocol.MaxBias {
		return invalid("logit_bias", "out_of_range", "logit_bias: %d tokens, want %d at the most", len(values), protocol.MaxBias)
	}
	for name, v := range values {
		id, err := strconv.ParseUint(name, 10, 32)
		switch {
		case err != nil || id >= protocol.MaxVocab:
			return invalid("logit_bias", "invalid_type", "logit_bias: %q is no token's number", clip(name))
		case math.Abs(v) > 100:
			return invalid("logit_bias", "out_of_range", "logit_bias: %g for token %d is out of range, want -100 to 100", v, id)
		}
		p.sampling.Bias = append(p.sampling.Bias, protocol.Bias{Token: protocol.TokenID(id), Value: float32(v)})
	}
	slices.SortFunc(p.sampling.Bias, func(a, b protocol.Bias) int { return int(a.Token) - int(b.Token) })
	for i := 1; i < len(p.sampling.Bias); i++ {
		if b := p.sampling.Bias; b[i].Token == b[i-1].Token { // "1" and "01"
			return invalid("logit_bias", "duplicate_parameter", "logit_bias: token %d is there twice", b[i].Token)
		}
	}
	return nil
}

// maxTop is how many likeliest tokens may be asked for.
const maxTop = protocol.MaxLogprobs - 1

// chatLogprobs reads logprobs and top_logprobs.
func (p *params) chatLogprobs(f fields) error {
	on, top := false, int64(0)
	if _, err := f.decode("logprobs", "true or false", &on); err != nil {
		return err
	}
	there, err := f.integer("top_logprobs", &top, 0, maxTop)
	switch {
	case err != nil:
		return err
	case there && top > 0 && !on:
		return invalid("top_logprobs", "invalid_request", "top_logprobs: only with logprobs: true")
	case on:
		p.sampling.Logprobs = uint32(top) + 1
	}
	return nil
}

// textLogprobs reads a completion's logprobs: how many likeliest tokens, 0 for that of the drawn one alone.
func (p *params) textLogprobs(f fields) error {
	top := int64(0)
	there, err := f.integer("logprobs", &top, 0, maxTop)
	if there {
		p.sampling.Logprobs = uint32(top) + 1
	}
	return err
}

// format reads response_format.
func (p *params) format(f fields) error {
	raw, ok := f.take("response_format")
	if !ok {
		return nil
	}
	var r struct {
		Type   string `json:"type"`
		Schema *struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Strict      *bool           `json:"strict"`
			Schema      json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	}
	if json.Unmarshal(raw, &r) != nil {
		return invalid("response_format", "invalid_type", "response_format: want an object with a type")
	}
	switch r.Type {
	case "text":
		return nil
	case "json_object":
		p.schema = jsonschema.AnyObject
	case "json_schema":
		if r.Schema == nil || len(r.Schema.Schema) == 0 {
			return invalid("response_format", "missing_parameter", "response_format.json_schema.schema: want a JSON schema")
		}
		p.schema = r.Schema.Schema
	default:
		return invalid("response_format", "unsupported_parameter", "response_format.type: want text, json_object or json_schema")
	}
	if len(p.tools) > 0 {
		return invalid("response_format", "unsupported_parameter", "response_format: not supported together with tools, unless tool_choice is none")
	}
	return nil
}

// Limits on tools.
const (
	maxTools    = 128
	maxToolName = 64 // bytes
)

// toolbox reads tools, tool_choice and parallel_tool_calls.
func (p *params) toolbox(f fields) error {
	var raw []json.RawMessage
	if _, err := f.decode("tools", "a list of tools", &raw); err != nil {
		return err
	}
	if len(raw) > maxTools {
		return invalid("tools", "out_of_range", "tools: %d, want %d at the most", len(raw), maxTools)
	}
	for i := range raw {
		t, err := parseTool(fmt.Sprintf("tools[%d]", i), raw[i])
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.tools, func(o tokenizer.Tool) bool { return o.Name == t.Name }) {
			return invalid("tools", "invalid_request", "tools: %s is there twice", t.Name)
		}
		p.tools = append(p.tools, t)
	}
	parallel := true
	if _, err := f.decode("parallel_tool_calls", "true or false", &parallel); err != nil {
		return err
	}
	p.calling.One = !parallel
	return p.toolChoice(f)
}

func (p *params) toolChoice(f fields) error {
	raw, ok := f.take("tool_choice")
	if !ok {
		return nil
	}
	var word string
	var named struct {
		Type     string `json:"type"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	switch {
	case json.Unmarshal(raw, &word) == nil:
		switch word {
		case "auto":
		case "none":
			p.tools = nil // a model that knows of none calls none
		case "required":
			p.calling.Must = true
		default:
			return invalid("tool_choice", "out_of_range", "tool_choice: want none, auto, required, or a function")
		}
	case json.Unmarshal(raw, &named) == nil && named.Type == "function" && named.Function.Name != "":
		p.calling = client.Calling{Must: true, Name: named.Function.Name, One: true}
		if !slices.ContainsFunc(p.tools, func(t tokenizer.Tool) bool { return t.Name == named.Function.Name }) {
			return invalid("tool_choice", "invalid_request", "tool_choice: there is no tool %s", clip(named.Function.Name))
		}
	default:
		return invalid("tool_choice", "invalid_type", "tool_choice: want none, auto, required, or a function")
	}
	if p.calling.Must && len(p.tools) == 0 {
		return invalid("tool_choice", "invalid_request", "tool_choice: only with tools")
	}
	return nil
}

// parseTool reads a function that may be called. where names it in errors.
func parseTool(where string, raw json.RawMessage) (tool tokenizer.Tool, err error) {
	var t struct {
		Type     string `json:"type"`
		Function *struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Parameters  json.RawMessage `json:"parameters"`
			Strict      *bool           `json:"strict"`
		} `json:"function"`
	}
	if json.Unmarshal(raw, &t) != nil || t.Type != "function" || t.Function == nil {
		return tool, invalid(where, "unsupported_parameter", "%s: want an object of type function", where)
	}
	if !validName(t.Function.Name) {
		return tool, invalid(where+".function.name", "invalid_type", "%s.function.name: want 1 to %d letters, digits, - and _", where, maxToolName)
	}
	parameters := t.Function.Parameters
	if string(parameters) == "null" {
		parameters = nil
	}
	if len(parameters) > 0 && parameters[0] != '{' {
		return tool, invalid(where+".function.parameters", "invalid_type", "%s.function.parameters: want a JSON schema", where)
	}
	return tokenizer.Tool{Name: t.Function.Name, Description: t.Function.Description, Parameters: parameters}, nil
}

func validName(name string) bool {
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return name != "" && len(name) <= maxToolName
}
