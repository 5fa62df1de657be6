// SPDX-License-Identifier: MIT

package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shardnode/shardnode/internal/jinja"
)

// MaxTemplate is how many bytes a chat template may have.
const MaxTemplate = jinja.MaxSource

// ChatTemplate renders a conversation as the prompt that the model was trained on.
//
// A template is a program that comes with the model file. It sees the conversation, the names of the special tokens and the time, and
// nothing else; its depth, time, memory and output are bounded.
type ChatTemplate struct {
	template *jinja.Template
	tools    *jinja.Template // for conversations with tools, where the file has one of its own
	special  map[string]string

	source, toolSource string // of the two

	now func() time.Time

	// nullContent says, for each template, whether a message of nothing but tool calls must have no content for the calls to be
	// written: see callsNeedNull.
	nullContent map[*jinja.Template]bool
}

// ChatTemplate returns the model's own chat template. ok is false without an error when the file has none.
func (t *Tokenizer) ChatTemplate() (c *ChatTemplate, ok bool, err error) {
	if t.template == "" {
		return nil, false, nil
	}
	c, err = NewChatTemplate(t.template, t)
	if err != nil {
		return nil, false, err
	}
	if t.toolTemplate != "" {
		if c.tools, err = jinja.Parse(t.toolTemplate); err != nil {
			return nil, false, badTemplate("cannot be parsed", err)
		}
		c.toolSource = t.toolTemplate
		c.nullContent[c.tools] = c.callsNeedNull(c.tools)
	}
	return c, true, nil
}

// NewChatTemplate parses a Jinja template. t provides the names of its BOS and EOS tokens. Errors name the template's line.
func NewChatTemplate(src string, t *Tokenizer) (*ChatTemplate, error) {
	template, err := jinja.Parse(src)
	if err != nil {
		return nil, badTemplate("cannot be parsed", err)
	}
	c := &ChatTemplate{template: template, source: src, special: map[string]string{"bos_token": "", "eos_token": ""}, now: time.Now}
	if id, ok := t.BOS(); ok {
		c.special["bos_token"] = t.vocab.text[id]
	}
	if id, ok := t.EOS(); ok {
		c.special["eos_token"] = t.vocab.text[id]
	}
	c.nullContent = map[*jinja.Template]bool{template: c.callsNeedNull(template)}
	return c, nil
}

// Render returns the prompt for a conversation. Encode it with ParseSpecial and without AddSpecial: the template writes BOS itself.
// Errors name the template's line, and say when the template refuses the conversation.
func (c *ChatTemplate) Render(conv Conversation) (string, error) {
	template := c.template
	if len(conv.Tools) > 0 && c.tools != nil {
		template = c.tools
	}
	prompt, err := c.render(template, conv, c.nullContent[template])
	var raised *jinja.RaisedError
	switch {
	case errors.As(err, &raised):
		return "", &TemplateError{Refused: true, err: fmt.Errorf("the model's chat template refuses this conversation at line %d: %s", raised.Line, shorten(raised.Message))}
	case err != nil:
		return "", badTemplate("failed", err)
	}
	return prompt, nil
}

func (c *ChatTemplate) render(template *jinja.Template, conv Conversation, nullContent bool) (string, error) {
	vars, err := conv.vars(nullContent)
	if err != nil {
		return "", err
	}
	for name, token := range c.special {
		vars.Set(name, token)
	}
	return template.Render(vars, c.now())
}

// callsNeedNull tries out how a template wants a message of nothing but tool calls: with an empty content, which most can take, or with
// none at all, which DeepSeek's go by and many others fail at.
func (c *ChatTemplate) callsNeedNull(template *jinja.Template) bool {
	const name = "tool_that_is_called"
	calls := []ToolCall{{ID: "123456789", Name: name}}
	conv := Conversation{Messages: []Message{{Role: "user", Content: "x"}, {Role: "assistant", ToolCalls: calls}}}
	written := func(nullContent bool) bool {
		prompt, err := c.render(template, conv, nullContent)
		return err == nil && strings.Contains(prompt, name)
	}
	return !written(false) && written(true)
}

// TemplateError says why a conversation, or any, does not become a prompt. What else can be done is for the caller to say.
type TemplateError struct {
	Refused bool // the template refuses this conversation; else the template itself is at fault
	err     error
}

func (e *TemplateError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *TemplateError) Unwrap() error { return e.err }

// badTemplate says what is wrong with a template, and where.
func badTemplate(what string, err error) error {
	var e *jinja.Error
	if !errors.As(err, &e) {
		return &TemplateError{err: fmt.Errorf("the model's chat template %s: %w", what, err)}
	}
	return &TemplateError{err: fmt.Errorf("the model's chat template %s at line %d: %s", what, e.Line, shorten(e.Message))}
}

// shorten keeps what a template says from filling the screen.
func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
