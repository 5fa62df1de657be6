// SPDX-License-Identifier: MIT

// Package conversation keeps a conversation in a file, which is a request of the HTTP API as well, so that an application can go on with it.
package conversation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/shardnode/shardnode/internal/statedir"
)

// Limits of a file.
const (
	maxFile  = 16 << 20 // bytes
	maxTurns = 4096
)

// File is what is in one. Numbers are kept as they are written.
type File struct {
	Model         string      `json:"model,omitempty"`
	Messages      []Message   `json:"messages"` // a system message or none, then questions and answers in turn
	Temperature   json.Number `json:"temperature"`
	TopP          json.Number `json:"top_p"`
	TopK          json.Number `json:"top_k"`
	MinP          json.Number `json:"min_p"`
	RepeatPenalty json.Number `json:"repeat_penalty"`
	Seed          json.Number `json:"seed"`
	MaxTokens     json.Number `json:"max_tokens"`
}

// Message is one turn.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Settings are the numbers by the names that flags have.
func (f *File) Settings() map[string]*json.Number {
	return map[string]*json.Number{
		"temperature": &f.Temperature, "top-p": &f.TopP, "top-k": &f.TopK, "min-p": &f.MinP, "repeat-penalty": &f.RepeatPenalty, "seed": &f.Seed, "max-tokens": &f.MaxTokens,
	}
}

// Read reads a file and checks that a conversation is in it.
func Read(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("load: %s is longer than %d MiB", path, maxFile>>20)
	}
	f, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	return f, nil
}

// Parse reads a conversation.
func Parse(raw []byte) (*File, error) {
	f := &File{}
	if err := json.Unmarshal(raw, f); err != nil || f.Messages == nil {
		return nil, errors.New("not a conversation: want a JSON object with messages")
	}
	if len(f.Messages) > maxTurns {
		return nil, fmt.Errorf("%d messages, want %d at the most", len(f.Messages), maxTurns)
	}
	turns := f.Messages
	if len(turns) > 0 && turns[0].Role == "system" {
		turns = turns[1:]
	}
	for i, m := range turns {
		if want := []string{"user", "assistant"}[i%2]; m.Role != want {
			return nil, fmt.Errorf("message %d is of %.32q, want %s", i+1, m.Role, want)
		}
	}
	if len(turns)%2 != 0 {
		return nil, errors.New("the last question has no answer")
	}
	return f, nil
}

// Write writes the file, which only the user can read. It is replaced as a whole or not at all.
func (f *File) Write(path string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if err := statedir.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}
