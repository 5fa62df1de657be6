// SPDX-License-Identifier: MIT

package engine

import (
	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// matcher makes what holds a session's answer to its grammar; nil without one, and at hops that draw no tokens.
func (e *Engine) matcher(o *protocol.Open, hop protocol.Hop) (*grammar.Matcher, *protocol.Error) {
	s := &o.Request.Sampling
	switch {
	case len(s.Grammar) == 0 || hop.Layers.To != e.cfg.Model.Config().NLayers:
		return nil, nil
	case s.Language != grammar.Language:
		return nil, protocol.Errorf(protocol.CodeUnsupported, "the grammar is in language %d, this node knows %d: choose a node of another version", s.Language, grammar.Language)
	case e.cfg.Vocab == nil:
		return nil, protocol.Errorf(protocol.CodeUnsupported, "this node has no vocabulary to hold answers to a grammar: choose another")
	}
	v, err := e.cfg.Vocab()
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnsupported, "this node cannot hold answers to a grammar: %v", err)
	}
	g, err := grammar.Compile(string(s.Grammar))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadRequest, "%v", err)
	}
	m, err := grammar.NewMatcher(g, v)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadRequest, "%v", err)
	}
	return m, nil
}

// allowed returns the tokens that the grammar of a session allows after a history, as a set of bits; nil: all.
func (s *Session) allowed(history []protocol.TokenID) ([]uint64, error) {
	if s.matcher == nil {
		return nil, nil
	}
	answer := history[min(int(s.sampling.Prompt), len(history)):]
	set, err := s.matcher.Allowed(answer)
	if err != nil {
		return nil, s.refuse(protocol.CodeBadRequest, "%v", err)
	}
	return set, nil
}
