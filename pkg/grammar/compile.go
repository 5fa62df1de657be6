// SPDX-License-Identifier: MIT

package grammar

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Grammar is a compiled grammar: a finite automaton for each rule, whose edges read bytes or tokens, or call other rules. Edges from
// which no text can be completed are cut off, so whatever the automaton can read is the beginning of a text.
type Grammar struct {
	states []state
	rules  []rule
	root   int32
}

type state struct {
	edges []edge
	rule  int32
	last  bool // nothing follows in the rule, and nothing can
	reads bool // has an edge that reads
}

type rule struct {
	start, end int32
	nullable   bool // derives the empty text
}

// edgeKind says what an edge needs.
type edgeKind uint8

const (
	edgeEmpty edgeKind = iota // nothing
	edgeBytes                 // a byte from lo to hi
	edgeToken                 // the token arg
	edgeCall                  // what the rule arg derives
)

type edge struct {
	kind   edgeKind
	lo, hi byte
	arg    int32
	to     int32
}

// Errors of grammars that can be read and make no sense.
var (
	errNoText   = errors.New("grammar: no text can be completed by it")
	errTooLarge = fmt.Errorf("grammar: more than %d states or %d edges, repetitions written out", maxStates, maxEdges)
)

// Compile reads a grammar's text.
func Compile(source string) (*Grammar, error) {
	if len(source) > MaxSource {
		return nil, fmt.Errorf("grammar: %d bytes, at most %d are allowed", len(source), MaxSource)
	}
	p := &parser{src: source}
	if err := p.parse(); err != nil {
		return nil, err
	}
	b := &builder{g: &Grammar{rules: make([]rule, len(p.bodies)), root: int32(p.rules["root"])}}
	for i := range p.bodies {
		b.rule = int32(i)
		b.g.rules[i].start, b.g.rules[i].end = b.state(), b.state()
	}
	for i, body := range p.bodies {
		b.rule = int32(i)
		b.empty(b.build(body, b.g.rules[i].start), b.g.rules[i].end)
	}
	if b.edges > maxEdges || len(b.g.states) > maxStates {
		return nil, errTooLarge
	}
	if err := b.g.finish(p.names); err != nil {
		return nil, err
	}
	return b.g, nil
}

// builder makes the automata. Beyond the limits it does nothing more, but for coming to an end.
type builder struct {
	g     *Grammar
	rule  int32
	edges int // made, and expressions visited
}

func (b *builder) full() bool { return len(b.g.states) > maxStates || b.edges > maxEdges }

func (b *builder) state() int32 {
	if b.full() {
		return 0
	}
	b.g.states = append(b.g.states, state{rule: b.rule})
	return int32(len(b.g.states) - 1)
}

func (b *builder) edge(from int32, e edge) {
	if b.full() {
		return
	}
	b.edges++
	b.g.states[from].edges = append(b.g.states[from].edges, e)
}

func (b *builder) empty(from, to int32) { b.edge(from, edge{kind: edgeEmpty, to: to}) }

// build adds what reads e from a state on, and returns the state after it. Nothing ever leads back to from but by way of new states: what
// else begins there is not repeated with e.
func (b *builder) build(e *expr, from int32) int32 {
	if b.edges++; b.full() { // an empty text takes time too
		return from
	}
	switch e.op {
	case opText:
		for i := range len(e.text) {
			to := b.state()
			b.edge(from, edge{kind: edgeBytes, lo: e.text[i], hi: e.text[i], to: to})
			from = to
		}
		return from
	case opClass:
		to := b.state()
		for _, r := range e.ranges {
			b.class(r, from, to)
		}
		return to
	case opToken:
		to := b.state()
		b.edge(from, edge{kind: edgeToken, arg: int32(e.token), to: to})
		return to
	case opRule:
		to := b.state()
		b.edge(from, edge{kind: edgeCall, arg: int32(e.rule), to: to})
		return to
	case opSeq:
		for _, s := range e.subs {
			from = b.build(s, from)
		}
		return from
	case opAlt:
		to := b.state()
		for _, s := range e.subs {
			b.empty(b.build(s, from), to)
		}
		return to
	case opRepeat:
		return b.repeat(e, from)
	case opUntil:
		return b.until(e, from)
	}
	return from
}

func (b *builder) repeat(e *expr, from int32) int32 {
	for range e.least {
		if b.full() {
			return from
		}
		from = b.build(e.subs[0], from)
	}
	end := b.state()
	if e.most == unlimited {
		b.empty(from, end)
		b.empty(b.build(e.subs[0], end), end)
		return end
	}
	for range e.most - e.least {
		if b.full() {
			return from
		}
		b.empty(from, end)
		from = b.build(e.subs[0], from)
	}
	b.empty(from, end)
	return end
}

// until reads all bytes up to a text's first end, as Knuth, Morris and Pratt search for it, or up to a token.
func (b *builder) until(e *expr, from int32) int32 {
	begin := b.state()
	b.empty(from, begin)
	if e.text == "" {
		to := b.state()
		b.edge(begin, edge{kind: edgeBytes, hi: 0xff, to: begin})
		b.edge(begin, edge{kind: edgeToken, arg: int32(e.token), to: to})
		return to
	}
	at := make([]int32, len(e.text)+1) // at[i]: what was read ends with the first i bytes of the text, and with no more of them
	at[0] = begin
	for i := range e.text {
		at[i+1] = b.state()
	}
	leads := make([][256]int, len(e.text)) // where a byte leads from at[i]
	shorter := 0                           // the same for what was read without its first byte
	for i := range len(e.text) {
		c := e.text[i]
		again := 0
		if i > 0 {
			leads[i] = leads[shorter]
			again = leads[shorter][c]
		}
		leads[i][c] = i + 1
		shorter = again
		for lo := 0; lo < 256; {
			hi := lo
			for hi < 255 && leads[i][hi+1] == leads[i][lo] {
				hi++
			}
			b.edge(at[i], edge{kind: edgeBytes, lo: byte(lo), hi: byte(hi), to: at[leads[i][lo]]})
			lo = hi + 1
		}
	}
	return at[len(e.text)]
}

// class reads a range of code points, as UTF-8. Surrogates are none.
func (b *builder) class(r runes, from, to int32) {
	const surrogates, after = 0xd800, 0xe000
	if r.lo < surrogates && r.hi >= surrogates {
		b.class(runes{r.lo, surrogates - 1}, from, to)
		r.lo = surrogates
	}
	if r.lo >= surrogates && r.lo < after {
		r.lo = after
	}
	if r.lo <= r.hi {
		b.encoded(r.lo, r.hi, from, to)
	}
}

// encoded splits a range until the encodings of its ends differ in whole ranges of bytes.
func (b *builder) encoded(lo, hi rune, from, to int32) {
	for _, most := range []rune{0x7f, 0x7ff, 0xffff} {
		if lo <= most && hi > most {
			b.encoded(lo, most, from, to)
			b.encoded(most+1, hi, from, to)
			return
		}
	}
	if hi > 0x7f {
		for i := 1; i < utf8.UTFMax; i++ {
			low := rune(1)<<(6*i) - 1
			if lo&^low == hi&^low {
				continue
			}
			if lo&low != 0 {
				b.encoded(lo, lo|low, from, to)
				b.encoded((lo|low)+1, hi, from, to)
				return
			}
			if hi&low != low {
				b.encoded(lo, hi&^low-1, from, to)
				b.encoded(hi&^low, hi, from, to)
				return
			}
		}
	}
	first, last := utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi)
	for i := range first {
		next := to
		if i < len(first)-1 {
			next = b.state()
		}
		b.edge(from, edge{kind: edgeBytes, lo: first[i], hi: last[i], to: next})
		from = next
	}
}
