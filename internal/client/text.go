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

	reader  *tokenizer.CallReader // nil: no tools
	calling tokenizer.ToolCall    // of harmony: the call whose arguments are coming
	calls   []tokenizer.ToolCall  // complete, not yet taken
	content bool                  // the latest token is a part of the text
}

// newTextStream makes a stream of an answer to a prompt. One that no chat template rendered has an answer without parts.
func newTextStream(t *tokenizer.Tokenizer, p *Prepared, stops []string) *textStream {
	s := &textStream{stops: stops}
	if p.Rendered == "" {
		s.decoder = t.Stream()
		return s
	}
	s.splitter = t.Splitter(p.Rendered)
	if p.Calls != tokenizer.CallsUnknown {
		s.reader = tokenizer.NewCallReader(p.Calls)
		s.splitter.ShowCalls()
	}
	return s
}

// feed takes the next token and reports whether the text has reached a stop string.
func (s *textStream) feed(id protocol.TokenID) bool {
	switch {
	case s.stopped:
	case s.splitter != nil:
		thought := s.splitter.Reasoning()
		s.parts(s.splitter.Next(id))
		s.content = !thought && !s.splitter.Reasoning()
	default:
		s.add(s.decoder.Next(id))
		s.content = true
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
		s.endCall()
	} else {
		s.add(s.decoder.Flush())
	}
	if s.reader != nil {
		text, calls := s.reader.Finish()
		s.calls = append(s.calls, calls...)
		s.add(text)
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
		case s.reader == nil:
			s.add(p.Text)
		case p.Kind == tokenizer.PartToolCall:
			if s.calling.Name != p.Tool {
				s.endCall()
				s.calling.Name = p.Tool
			}
			s.calling.Arguments = append(s.calling.Arguments, p.Text...)
		default:
			s.endCall()
			text, calls := s.reader.Next(p.Text)
			s.calls = append(s.calls, calls...)
			s.add(text)
		}
	}
}

// endCall ends a call of harmony.
func (s *textStream) endCall() {
	if s.calling.Name == "" {
		return
	}
	call := s.calling
	s.calling = tokenizer.ToolCall{}
	if call.Name = strings.TrimPrefix(call.Name, "functions."); len(call.Arguments) == 0 {
		call.Arguments = []byte("{}")
	}
	s.calls = append(s.calls, call)
}

// takeCalls returns the calls that are complete since the last call.
func (s *textStream) takeCalls() []tokenizer.ToolCall {
	out := s.calls
	s.calls = nil
	return out
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
