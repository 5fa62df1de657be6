// SPDX-License-Identifier: MIT

package engine_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// byteVocab has a token for each byte, as far as the test model has tokens; the last one ends an answer.
func byteVocab() (*grammar.Vocab, error) {
	return grammar.NewVocab(testVocab, func(t int) []byte { return []byte{byte(t)} }, func(t int) bool { return t == testVocab-1 })
}

func TestGrammarRefusals(t *testing.T) {
	t.Parallel()
	m := loadModel(t, protocol.LayerRange{From: 0, To: testLayers}, 1)
	rs := ranges()
	with := start(t, m, func(c *engine.Config) { c.Vocab = byteVocab })
	without := start(t, m, nil)
	broken := start(t, m, func(c *engine.Config) {
		c.Vocab = func() (*grammar.Vocab, error) { return nil, errors.New("no tokens here") }
	})
	for _, c := range []struct {
		name     string
		e        *engine.Engine
		language uint32
		source   string
		code     protocol.Code
		words    string
	}{
		{"language", with, 2, "x", protocol.CodeUnsupported, "language 2, this node knows 1"},
		{"no vocabulary", without, 1, `root ::= "a"`, protocol.CodeUnsupported, "choose another"},
		{"a broken vocabulary", broken, 1, `root ::= "a"`, protocol.CodeUnsupported, "no tokens here"},
		{"syntax", with, 1, `root ::= "a`, protocol.CodeBadRequest, "closing quote"},
		{"a token that is text", with, 1, `root ::= <[1]>`, protocol.CodeBadRequest, "token 1"},
	} {
		o := openFrame(m, 1, protocol.F32, rs, 0, 10)
		o.Request.Sampling.Language, o.Request.Sampling.Grammar = c.language, []byte(c.source)
		_, _, err := c.e.Open(testPeer, o, discard)
		t.Run(c.name, func(t *testing.T) { wantCode(t, err, c.code, c.words) })
	}
}

// A grammar decides what is drawn, whatever the split; where it leaves nothing to draw, the session ends and says so.
func TestGrammarDecides(t *testing.T) {
	t.Parallel()
	held := func(source string) protocol.Sampling {
		s := sampling
		s.Language, s.Grammar, s.Prompt, s.Logprobs = 1, []byte(source), uint32(len(prompt)), 2
		return s
	}
	draw := func(t *testing.T, source string, rs []protocol.LayerRange) []protocol.TokenID {
		nodes := make([]node, len(rs))
		for i, r := range rs {
			m := loadModel(t, r, 1)
			nodes[i] = node{start(t, m, func(c *engine.Config) { c.Vocab = byteVocab }), m}
		}
		return openChain(t, nodes, 1, protocol.F32, rs, positions, held(source)).generate(len(prompt)).tokens
	}
	const source = `root ::= [\x01-\x04]{3} [\x05-\x08]{200}`
	whole := draw(t, source, ranges())
	for i, id := range whole {
		if low := i < 3; low && (id < 1 || id > 4) || !low && (id < 5 || id > 8) {
			t.Errorf("token %d is %d", i, id)
		}
	}
	if split := draw(t, source, ranges(1, 3)); !slices.Equal(split, whole) {
		t.Errorf("drew %v split, %v whole", split, whole)
	}
}
