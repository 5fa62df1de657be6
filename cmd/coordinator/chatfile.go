// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/shardnode/shardnode/internal/conversation"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// save writes the conversation. A file that is there already is replaced only if it holds a conversation.
func (ch *chat) save(path string) error {
	if path == "" {
		path = ch.file
	}
	if path == "" {
		return errors.New("/save FILE: it has no file yet")
	}
	if _, err := conversation.Read(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there and holds no conversation: choose another name", path)
	}
	s := &conversation.File{Model: ch.o.infer.model, Messages: []conversation.Message{}}
	if ch.system != "" {
		s.Messages = append(s.Messages, conversation.Message{Role: "system", Content: ch.system})
	}
	for _, t := range ch.turns {
		s.Messages = append(s.Messages, conversation.Message{Role: t.Role, Content: t.Content})
	}
	for name, n := range s.Settings() {
		*n = json.Number(ch.cmd.Flags().Lookup(name).Value.String())
	}
	if err := s.Write(path); err != nil {
		return err
	}
	ch.file = path
	ch.say("wrote %s: %s", path, plural(len(ch.turns)/2, "answer"))
	return nil
}

// load takes a conversation from a file, and leaves everything as it was if that cannot be.
func (ch *chat) load(path string) error {
	if path == "" {
		return errors.New("/load FILE")
	}
	s, err := conversation.Read(path)
	if err != nil {
		return err
	}
	old := map[string]string{}
	for name, n := range s.Settings() {
		if *n == "" {
			continue
		}
		old[name] = ch.cmd.Flags().Lookup(name).Value.String()
		if err := ch.change(name, n.String()); err != nil {
			for name, value := range old {
				err = errors.Join(err, ch.cmd.Flags().Lookup(name).Value.Set(value))
			}
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	if s.Model != "" {
		ch.o.infer.model = s.Model
	}
	ch.system, ch.turns, ch.file = "", nil, path
	for _, m := range s.Messages {
		if m.Role == "system" {
			ch.system = m.Content
		} else {
			ch.turns = append(ch.turns, tokenizer.Message{Role: m.Role, Content: m.Content})
		}
	}
	ch.say("%s: %s", path, plural(len(ch.turns)/2, "answer"))
	return nil
}
