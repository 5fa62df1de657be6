// SPDX-License-Identifier: MIT

package client

import (
	"strings"

	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// textStream turns generated tokens into text and ends it at a stop string. What might be the beginning of a stop string is
// held back until it is clear. Reasoning is kept apart, and is not searched for stop strings. It belongs to one goroutine.
type textStream struct {
	decoder  *tokenizer.StreamDecoder // nil with a splitter
	splitter *tokenizer.Splitter
	stops    []string

	text    strings.Builder // everything released, the stop string excluded
	held    string          // decoded, may be the beginning of a stop string
	ready   string          // released, not yet taken
	stopped bool

	reasoning strings.Builder
	thought   string // reasoning not yet taken
}

// newTextStream makes a stream of an answer to a prompt: what a chat template rendered, or "" for text that has no parts.
func newTextStream(t *tokenizer.Tokenizer, prompt string, stops []string) *textStream {
	s := &textStream{stops: stops}
	if prompt == "" {
		s.decoder = t.Stream()
	} else {
		s.splitter = t.Splitter(prompt)
	}
	return s
}

// feed takes the next token and reports whether the text has reached a stop string.
func (s *textStream) feed(id protocol.TokenID) bool {
	switch {
	case s.stopped:
	case s.splitter != nil:
		s.parts(s.splitter.Next(id))
	default:
		s.add(s.decoder.Next(id))
	}
	return s.stopped
}

// finish releases what was held back: the generation is over.
func (s *textStream) finish() {
	if s.stopped {
		return
	}
	if s.splitter != nil {
		s.parts(s.splitter.Finish())
	} else {
		s.add(s.decoder.Flush())
	}
	if !s.stopped {
		s.release(len(s.held))
	}
}

func (s *textStream) parts(parts []tokenizer.Part) {
	for _, p := range parts {
		switch {
		case s.stopped:
		case p.Kind == tokenizer.PartReasoning:
			s.reasoning.WriteString(p.Text)
			s.thought += p.Text
		default:
			s.add(p.Text)
		}
	}
}

func (s *textStream) add(piece string) {
	s.held += piece
	first := -1
	for _, stop := range s.stops {
		if i := strings.Index(s.held, stop); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	if first >= 0 {
		s.held = s.held[:first]
		s.release(first)
		s.stopped = true
		return
	}
	keep := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(s.held)); n > keep; n-- {
			if strings.HasSuffix(s.held, stop[:n]) {
				keep = n
			}
		}
	}
	s.release(len(s.held) - keep)
}

func (s *textStream) release(n int) {
	s.text.WriteString(s.held[:n])
	s.ready += s.held[:n]
	s.held = s.held[n:]
}

// takeReasoning returns the reasoning that came since the last call.
func (s *textStream) takeReasoning() string {
	out := s.thought
	s.thought = ""
	return out
}

// take returns the text released since the last call.
func (s *textStream) take() string {
	out := s.ready
	s.ready = ""
	return out
}
