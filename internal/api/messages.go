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
var roles = []string{"system", "developer", "user", "assistant"}

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
	content, ok := f.take("content")
	if !ok {
		return m, invalid(where+".content", "missing_parameter", "%s.content: want a text", where)
	}
	if m.Content, err = parseContent(where+".content", content); err != nil {
		return m, err
	}
	delete(f, "name") // templates have no place for it
	if err := f.rest(); err != nil {
		return m, invalid(where, "unknown_parameter", "%s: %v", where, err)
	}
	return m, nil
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
