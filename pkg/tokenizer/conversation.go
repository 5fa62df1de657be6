// SPDX-License-Identifier: MIT

package tokenizer

import (
	"encoding/json"
	"fmt"

	"github.com/shardnode/shardnode/internal/jinja"
)

// Conversation is what a chat template makes a prompt of.
type Conversation struct {
	Messages []Message
	Tools    []Tool // what the model may call; nil: no tools

	// AddGenerationPrompt ends the prompt where the assistant's answer begins. Without it the prompt ends with the last message.
	AddGenerationPrompt bool

	// Vars is a JSON object of the template's own switches, such as {"enable_thinking": false} or {"reasoning_effort": "high"};
	// empty: none. It cannot give the names that Render gives itself.
	Vars json.RawMessage
}

// Message is one turn of a conversation.
type Message struct {
	Role    string // "system", "user", "assistant", "tool" or what else the template knows
	Content string

	Reasoning string     // of an assistant: what came before Content; most templates leave it out of earlier turns
	ToolCalls []ToolCall // of an assistant

	ToolCallID string // of a tool: which call this is the result of
	Name       string // of a tool: its name
}

// ToolCall is a call that an assistant made.
type ToolCall struct {
	ID        string
	Name      string
	Arguments json.RawMessage // a JSON object
}

// Tool is a function that the model may call.
type Tool struct {
	Name        string
	Description string
	Parameters  json.RawMessage // JSON schema of the arguments; empty: the function has none
}

// vars returns what a template sees: the names and shapes of the Hugging Face library transformers. nullContent says how a message of
// nothing but tool calls has no content: by none, or by an empty one.
func (c *Conversation) vars(nullContent bool) (*jinja.Dict, error) {
	vars := jinja.NewDict()
	if len(c.Vars) > 0 {
		v, err := jinja.FromJSON(c.Vars)
		if err != nil {
			return nil, fmt.Errorf("template variables: %w", err)
		}
		d, ok := v.(*jinja.Dict)
		if !ok {
			return nil, fmt.Errorf("template variables: want a JSON object")
		}
		vars = d
	}
	for _, name := range []string{"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"} {
		if vars.Has(name) {
			return nil, fmt.Errorf("template variables: %s cannot be set", name)
		}
	}
	messages := make([]jinja.Value, len(c.Messages))
	for i := range c.Messages {
		m, err := c.Messages[i].value(nullContent)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
		messages[i] = m
	}
	var tools jinja.Value
	if len(c.Tools) > 0 {
		list := make([]jinja.Value, len(c.Tools))
		for i, t := range c.Tools {
			v, err := t.value()
			if err != nil {
				return nil, fmt.Errorf("tool %d (%s): %w", i+1, t.Name, err)
			}
			list[i] = v
		}
		tools = jinja.NewList(list...)
	}
	vars.Set("messages", jinja.NewList(messages...)).Set("tools", tools).Set("documents", nil)
	return vars.Set("add_generation_prompt", c.AddGenerationPrompt), nil
}

// value is the message as a template sees it. Templates ask which keys there are, so what is empty is left out.
func (m *Message) value(nullContent bool) (jinja.Value, error) {
	d := jinja.NewDict().Set("role", m.Role).Set("content", m.Content)
	if m.Reasoning != "" { // templates know it by either name
		d.Set("reasoning_content", m.Reasoning).Set("thinking", m.Reasoning)
	}
	if len(m.ToolCalls) > 0 {
		if m.Content == "" && nullContent {
			d.Set("content", nil)
		}
		calls := make([]jinja.Value, len(m.ToolCalls))
		for i, c := range m.ToolCalls {
			v, err := c.value()
			if err != nil {
				return nil, fmt.Errorf("call of %s: %w", c.Name, err)
			}
			calls[i] = v
		}
		d.Set("tool_calls", jinja.NewList(calls...))
	}
	if m.ToolCallID != "" {
		d.Set("tool_call_id", m.ToolCallID)
	}
	if m.Name != "" {
		d.Set("name", m.Name)
	}
	return d, nil
}

func (c *ToolCall) value() (jinja.Value, error) {
	var arguments jinja.Value = jinja.NewDict()
	if len(c.Arguments) > 0 {
		var err error
		if arguments, err = jinja.FromJSON(c.Arguments); err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
	}
	function := jinja.NewDict().Set("name", c.Name).Set("arguments", arguments)
	d := jinja.NewDict()
	if c.ID != "" {
		d.Set("id", c.ID)
	}
	return d.Set("type", "function").Set("function", function), nil
}

func (t *Tool) value() (jinja.Value, error) {
	function := jinja.NewDict().Set("name", t.Name)
	if t.Description != "" {
		function.Set("description", t.Description)
	}
	if len(t.Parameters) > 0 {
		parameters, err := jinja.FromJSON(t.Parameters)
		if err != nil {
			return nil, fmt.Errorf("parameters: %w", err)
		}
		function.Set("parameters", parameters)
	}
	return jinja.NewDict().Set("type", "function").Set("function", function), nil
}
