// SPDX-License-Identifier: MIT

package grammar

import (
	"errors"
	"fmt"
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Matcher follows one answer.
type Matcher struct {
	v *Vocab
	e *explorer

	tokens []protocol.TokenID // followed so far
	at     *place             // nil: before the first
	masks  int                // of remembered places
	stack  []*place           // scratch of walk; [most+1]
}

// NewMatcher returns a matcher for answers in a vocabulary. A grammar that names a token which has a text is refused: text is matched by
// its bytes.
func NewMatcher(g *Grammar, v *Vocab) (*Matcher, error) {
	for _, s := range g.states {
		for _, e := range s.edges {
			if e.kind == edgeToken && (int(e.arg) >= v.size || !has(v.control, int(e.arg))) {
				return nil, fmt.Errorf("grammar: token %d is none of the vocabulary's control tokens: write text as text", e.arg)
			}
		}
	}
	return &Matcher{v: v, e: newExplorer(g), stack: make([]*place, v.most+1)}, nil
}

// errNoToken says that a text cannot be completed with the tokens there are.
var errNoToken = errors.New("grammar: no token of the vocabulary may come next")

// Allowed returns the tokens that may follow an answer's tokens so far, as a set of bits; it is valid until the next call. A token may come
// if the text with it is a text of the grammar or the beginning of one; one that ends an answer, if the text is one. The set is never empty.
func (m *Matcher) Allowed(answer []protocol.TokenID) ([]uint64, error) {
	if err := m.follow(answer); err != nil {
		return nil, err
	}
	if m.at.mask != nil {
		return m.at.mask, nil
	}
	mask, err := m.walk()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(mask, func(w uint64) bool { return w != 0 }) {
		return nil, errNoToken
	}
	if m.at.next != nil {
		if m.masks == maxMasks {
			for _, p := range m.e.places {
				p.mask = nil
			}
			m.masks = 0
		}
		m.at.mask = mask
		m.masks++
	}
	return mask, nil
}

// follow moves to where answer ends: on from the tokens before, or from the beginning where they are others.
func (m *Matcher) follow(answer []protocol.TokenID) error {
	if m.at == nil || len(answer) < len(m.tokens) || !slices.Equal(answer[:len(m.tokens)], m.tokens) {
		m.e.work = maxWork
		var err error
		if m.at, err = m.e.begin(); err != nil {
			return err
		}
		m.tokens = m.tokens[:0]
	}
	for _, t := range answer[len(m.tokens):] {
		if len(m.e.places) >= maxPlaces || len(m.e.nodes) >= maxNodes/2 {
			m.at, m.masks = m.e.moved(m.at), 0
		}
		to, err := m.after(t)
		if err != nil {
			return err
		}
		if to == dead {
			return fmt.Errorf("grammar: token %d of the answer, %d, is not allowed there", len(m.tokens), t)
		}
		m.at, m.tokens = to, append(m.tokens, t)
	}
	return nil
}

// after is where a token leads to.
func (m *Matcher) after(t protocol.TokenID) (*place, error) {
	m.e.work = maxWork
	if int64(t) >= int64(m.v.size) {
		return dead, nil
	}
	if has(m.v.control, int(t)) {
		return m.e.afterToken(m.at, int32(t))
	}
	p := m.at
	for _, b := range m.v.text(int32(t)) {
		var err error
		if p, err = m.e.after(p, b); err != nil || p == dead {
			return p, err
		}
	}
	return p, nil
}

// walk finds the tokens that may come: those whose bytes lead along the tree of the vocabulary and through the grammar.
func (m *Matcher) walk() ([]uint64, error) {
	v := m.v
	m.e.work = maxWork
	mask := make([]uint64, words(v.size))
	m.stack[0] = m.at
	for i := int32(0); int(i) < len(v.label); {
		d := v.depth[i]
		p, err := m.e.after(m.stack[d-1], v.label[i])
		if err != nil {
			return nil, err
		}
		if p == dead {
			i = v.skip[i]
			continue
		}
		if p == m.stack[d-1] && p.next != nil {
			if p.loops == 0 {
				m.e.findLoops(p)
			}
			if v.below[i]&^p.loops == 0 { // all that is below leads back here
				for _, t := range v.token[v.first[i]:v.first[v.skip[i]]] {
					set(mask, int(t))
				}
				if m.e.work -= int(v.skip[i]-i-1) * p.cost; m.e.work < 0 {
					return nil, errTooMuch
				}
				i = v.skip[i]
				continue
			}
		}
		m.stack[d] = p
		for _, t := range v.token[v.first[i]:v.first[i+1]] {
			set(mask, int(t))
		}
		i++
	}
	clear(m.stack)
	for _, c := range m.at.configs {
		for _, e := range m.e.g.states[c.state].edges {
			if e.kind == edgeToken {
				set(mask, int(e.arg))
			}
		}
	}
	if m.at.accepts {
		for i, w := range v.ends {
			mask[i] |= w
		}
	}
	return mask, nil
}
