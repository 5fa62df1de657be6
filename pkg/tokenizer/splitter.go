// SPDX-License-Identifier: MIT

package tokenizer

import (
	"strings"
	"unicode"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// PartKind says what a part of an answer is.
type PartKind int

// The kinds of parts.
const (
	PartContent   PartKind = iota // for the reader
	PartReasoning                 // what the model thought before it
	PartToolCall                  // the arguments of a call, of models that have a channel for them (harmony)
)

// Part is a piece of an answer.
type Part struct {
	Kind PartKind
	Text string
	Tool string // of a PartToolCall: who is called, such as "functions.get_weather"
}

// Splitter takes the reasoning out of an answer as it is generated. Two forms are known: <think>…</think> and [THINK]…[/THINK] at the
// beginning of an answer, whose tags and the white space around them go, and harmony's channels (gpt-oss), which are read from control
// tokens and not from text that looks like them. The answers of other models are content as they are. It belongs to one goroutine.
type Splitter struct {
	stream  *StreamDecoder
	names   map[protocol.TokenID]string // control tokens that matter, and tags that are one token
	harmony bool

	// Of tags.
	open, close string // the pair in use; open is "" while it is not clear whether there is one
	kind        PartKind
	settled     bool   // what comes is content to the end
	held        string // may be part of a tag, or is white space that a tag may take away
	trimming    bool   // white space that comes now belongs to a tag

	// Of harmony.
	header  bool
	channel string  // text between <|channel|> and <|message|>
	role    string  // text between <|start|> and <|channel|>
	part    Part    // what the message is
	where   *string // which of the two the header's text belongs to
}

// tagPairs are the tags around reasoning.
var tagPairs = [][2]string{{"<think>", "</think>"}, {"[THINK]", "[/THINK]"}}

// harmonyNames are the control tokens of the harmony format. A vocabulary with all of them speaks it.
var harmonyNames = []string{"<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"}

// Splitter returns a splitter for the answer to a prompt, as a chat template rendered it: the prompt may have begun the reasoning.
func (t *Tokenizer) Splitter(prompt string) *Splitter {
	s := &Splitter{stream: t.Stream(), names: map[protocol.TokenID]string{}}
	if t.harmony() {
		for _, n := range harmonyNames {
			s.names[protocol.TokenID(t.vocab.ids[n])] = n
		}
		s.harmony, s.header = true, true
		s.where = &s.role
		return s
	}
	for _, pair := range tagPairs {
		for _, n := range pair {
			if id, ok := t.vocab.ids[n]; ok && t.hidden(protocol.TokenID(id)) {
				s.names[protocol.TokenID(id)] = n
			}
		}
		if strings.HasSuffix(strings.TrimRightFunc(prompt, unicode.IsSpace), pair[0]) {
			s.begin(pair)
		}
	}
	return s
}

// ShowCalls leaves the marks of tool calls in the text, for a [CallReader], where they are control tokens.
func (s *Splitter) ShowCalls() {
	if s.harmony {
		return
	}
	t := s.stream.t
	for _, n := range callMarks {
		if id, ok := t.vocab.ids[n]; ok && t.hidden(protocol.TokenID(id)) {
			s.names[protocol.TokenID(id)] = n
		}
	}
}

// Reasoning reports whether what comes next is reasoning, as far as is known.
func (s *Splitter) Reasoning() bool {
	if s.harmony {
		return s.header || s.part.Kind != PartContent
	}
	return s.kind == PartReasoning
}

func (s *Splitter) begin(pair [2]string) {
	s.open, s.close = pair[0], pair[1]
	s.kind, s.trimming = PartReasoning, true
}

// Next takes a token and returns the parts that are now clear, often none.
func (s *Splitter) Next(id protocol.TokenID) []Part {
	name, marks := s.names[id]
	if s.harmony {
		if !marks {
			return s.harmonyText(s.stream.Next(id))
		}
		out := s.harmonyText(s.stream.Flush())
		s.harmonyMark(name)
		return out
	}
	if marks {
		return s.text(s.stream.Flush() + name)
	}
	return s.text(s.stream.Next(id))
}

// Finish returns what was held back: the answer is over.
func (s *Splitter) Finish() []Part {
	rest := s.stream.Flush()
	if s.harmony {
		return s.harmonyText(rest)
	}
	out := s.text(rest)
	left := s.held
	s.held = ""
	if s.kind == PartReasoning {
		left = strings.TrimRightFunc(left, unicode.IsSpace)
	}
	return s.emit(out, left)
}

func (s *Splitter) emit(out []Part, text string) []Part {
	if text == "" {
		return out
	}
	return append(out, Part{Kind: s.kind, Text: text})
}

// text takes text of a model that marks its reasoning by tags.
func (s *Splitter) text(text string) []Part {
	if s.settled && !s.trimming {
		return s.emit(nil, text)
	}
	s.held += text
	var out []Part
	if s.open == "" && !s.settled && !s.opened() {
		return nil
	}
	if s.trimming {
		if s.held = strings.TrimLeftFunc(s.held, unicode.IsSpace); s.held == "" {
			return nil
		}
		s.trimming = false
	}
	if s.kind == PartReasoning {
		thought, answer, closed := strings.Cut(s.held, s.close)
		if !closed {
			n := len(s.held) - s.undecided()
			out, s.held = s.emit(out, s.held[:n]), s.held[n:]
			return out
		}
		out = s.emit(out, strings.TrimRightFunc(thought, unicode.IsSpace))
		s.kind, s.settled = PartContent, true
		s.held = strings.TrimLeftFunc(answer, unicode.IsSpace)
		s.trimming = s.held == ""
	}
	out, s.held = s.emit(out, s.held), ""
	return out
}

// opened finds out whether the answer begins with reasoning. It returns false while that is not clear.
func (s *Splitter) opened() bool {
	start := strings.TrimLeftFunc(s.held, unicode.IsSpace)
	for _, pair := range tagPairs {
		if rest, ok := strings.CutPrefix(start, pair[0]); ok {
			s.begin(pair)
			s.held = rest
			return true
		}
		if strings.HasPrefix(pair[0], start) {
			return false
		}
	}
	s.settled = true
	return true
}

// undecided returns how many bytes at the end of what is held may belong to the closing tag: the beginning of one and the white space
// before it.
func (s *Splitter) undecided() int {
	n := min(len(s.close)-1, len(s.held))
	for n > 0 && !strings.HasSuffix(s.held, s.close[:n]) {
		n--
	}
	return len(s.held) - len(strings.TrimRightFunc(s.held[:len(s.held)-n], unicode.IsSpace))
}

// harmonyMark takes a control token: <|start|>role<|channel|>channel<|message|>text, and <|end|>, <|return|> or <|call|>.
func (s *Splitter) harmonyMark(name string) {
	switch name {
	case "<|start|>":
		s.header, s.role, s.channel, s.where = true, "", "", &s.role
	case "<|channel|>":
		s.header, s.channel, s.where = true, "", &s.channel
	case "<|message|>":
		s.header = false
		s.part = harmonyPart(s.role, s.channel)
	default:
		s.header, s.role, s.channel, s.where = true, "", "", &s.role
	}
}

// harmonyPart tells a message by its header: "commentary to=functions.f <|constrain|>json" calls f.
func harmonyPart(role, channel string) Part {
	name, _, _ := strings.Cut(strings.TrimSpace(channel), " ")
	_, recipient, called := strings.Cut(role+" "+channel, "to=")
	switch {
	case called:
		if fields := strings.Fields(recipient); len(fields) > 0 {
			return Part{Kind: PartToolCall, Tool: fields[0]}
		}
		return Part{Kind: PartToolCall}
	case name == "analysis":
		return Part{Kind: PartReasoning}
	}
	return Part{Kind: PartContent}
}

// maxHeader bounds what is kept of a message's header, in bytes.
const maxHeader = 1 << 10

func (s *Splitter) harmonyText(text string) []Part {
	if text == "" {
		return nil
	}
	if s.header {
		if len(*s.where) < maxHeader {
			*s.where += text
		}
		return nil
	}
	p := s.part
	p.Text = text
	return []Part{p}
}
