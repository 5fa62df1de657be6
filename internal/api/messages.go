// SPDX-License-Identifier: MIT

package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// conversation reads a chat's messages.
func (p *params) conversation(f fields) error {
	var raw []json.RawMessage
	there, err := f.decode("messages", "a list of messages", &raw)
	switch {
	case err != nil:
		return err
	case !there || len(raw) == 0:
		return invalid("messages", "missing_parameter", "messages: want one at least")
	case len(raw) > maxMessages:
		return invalid("messages", "out_of_range", "messages: %d, want %d at the most", len(raw), maxMessages)
	}
	for i := range raw {
		m, err := parseMessage(fmt.Sprintf("messages[%d]", i), raw[i])
		if err != nil {
			return err
		}
		p.messages = append(p.messages, m)
	}
	return nil
}

// roles are who speaks, in OpenAI's words. A developer is what a system was called before, and chat templates know that name.
var roles = []string{"system", "developer", "user", "assistant", "tool"}

// parseMessage reads one turn. where names it in errors.
func parseMessage(where string, raw json.RawMessage) (m tokenizer.Message, err error) {
	f, err := parseFields(raw)
	if err != nil {
		return m, invalid(where, "invalid_type", "%s: %v", where, err)
	}
	if _, err := f.decode("role", "a role", &m.Role); err != nil || !slices.Contains(roles, m.Role) {
		return m, invalid(where+".role", "invalid_role", "%s.role: want one of %s", where, strings.Join(roles, ", "))
	}
	if m.Role == "developer" {
		m.Role = "system"
	}
	if m.Role == "assistant" {
		if err := parseAssistant(where, f, &m); err != nil {
			return m, err
		}
	}
	if m.Role == "tool" {
		if _, err := f.decode("tool_call_id", "a call's ID", &m.ToolCallID); err != nil {
			return m, err
		}
	}
	content, ok := f.take("content")
	if !ok && len(m.ToolCalls) == 0 {
		return m, invalid(where+".content", "missing_parameter", "%s.content: want a text", where)
	}
	if ok {
		if m.Content, err = parseContent(where+".content", content); err != nil {
			return m, err
		}
	}
	delete(f, "name") // templates have no place for it
	if err := f.rest(); err != nil {
		return m, invalid(where, "unknown_parameter", "%s: %v", where, err)
	}
	return m, nil
}

// parseAssistant reads what an assistant's turn has beside its content.
func parseAssistant(where string, f fields, m *tokenizer.Message) error {
	if _, err := f.decode("reasoning_content", "a text", &m.Reasoning); err != nil {
		return err
	}
	for name, empty := range map[string]string{"refusal": `""`, "annotations": "[]"} { // answers have them, and come back
		if err := f.only(name, empty); err != nil {
			return err
		}
	}
	var calls []struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	}
	if _, err := f.decode("tool_calls", "a list of calls", &calls); err != nil {
		return invalid(where+".tool_calls", "invalid_type", "%s.%v", where, err)
	}
	if len(calls) > maxTools {
		return invalid(where+".tool_calls", "out_of_range", "%s.tool_calls: %d, want %d at the most", where, len(calls), maxTools)
	}
	for i, c := range calls {
		arguments := strings.TrimSpace(c.Function.Arguments)
		if c.Function.Name == "" || !json.Valid([]byte(arguments)) || arguments[0] != '{' {
			return invalid(where+".tool_calls", "invalid_type", "%s.tool_calls[%d]: want a function with a name and, as a text, the JSON object of its arguments", where, i)
		}
		m.ToolCalls = append(m.ToolCalls, tokenizer.ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: json.RawMessage(arguments)})
	}
	return nil
}

// parseContent reads what is said: a text, or parts of one.
func parseContent(where string, raw json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return "", invalid(where, "invalid_type", "%s: want a text or a list of parts", where)
	}
	if len(parts) > maxParts {
		return "", invalid(where, "out_of_range", "%s: %d parts, want %d at the most", where, len(parts), maxParts)
	}
	var b strings.Builder
	for i, part := range parts {
		if part.Type != "text" || part.Text == nil {
			return "", invalid(fmt.Sprintf("%s[%d]", where, i), "unsupported_content", "%s[%d]: a part of type %q: only text is supported", where, i, clip(part.Type))
		}
		b.WriteString(*part.Text)
	}
	return b.String(), nil
}
