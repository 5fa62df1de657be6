// SPDX-License-Identifier: MIT

package protocol_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// What makes no sense is refused on both sides: by the encoder, and by the decoder in a body the msgpack library wrote.
func TestRules(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	open := func(change func(*protocol.Open)) func(protocol.Frame) {
		return func(f protocol.Frame) { change(f.(*protocol.Open)) }
	}
	step := func(change func(*protocol.Step)) func(protocol.Frame) {
		return func(f protocol.Frame) { change(f.(*protocol.Step)) }
	}
	result := func(change func(*protocol.IntermediateResult)) func(protocol.Frame) {
		return func(f protocol.Frame) { change(f.(*protocol.IntermediateResult)) }
	}
	kv := func(change func(*protocol.KVRows)) func(protocol.Frame) {
		return func(f protocol.Frame) { change(f.(*protocol.KVRows)) }
	}
	layers := func(from, to int) protocol.LayerRange { return protocol.LayerRange{From: from, To: to} }
	wire := func(from, to uint64) any { return []any{from, to} }
	for _, c := range []struct {
		name   string
		sample string
		change func(protocol.Frame)
		place  at  // of the same change in the body
		value  any // nil: the body cannot say it
		want   string
	}{
		{"no layers", "status", func(f protocol.Frame) { f.(*protocol.Status).Layers = layers(8, 8) }, at{7}, wire(8, 8), "layers 8 to 8"},
		{"layers beyond the model", "status", func(f protocol.Frame) { f.(*protocol.Status).Layers.To = 33 }, at{7}, wire(8, 33), "of a model of 32"},
		{"negative layer", "status", func(f protocol.Frame) { f.(*protocol.Status).Layers.From = -1 }, nil, nil, "layers -1 to 16"},
		{"chunk beyond the whole", "model-chunk", func(f protocol.Frame) { f.(*protocol.ModelChunk).Total = 2 }, at{1}, uint64(2), "chunk of 3 bytes"},

		{"no wire type", "open", open(func(o *protocol.Open) { o.Wire = 0 }), at{5}, uint64(0), "element type"},
		{"unknown wire type", "open", open(func(o *protocol.Open) { o.Wire = 3 }), at{5}, uint64(3), "element type"},
		{"unknown path", "open", open(func(o *protocol.Open) { o.Path = 2 }), at{6}, uint64(2), "path is 2"},
		{"no route", "open", open(func(o *protocol.Open) { o.Route = nil }), at{7}, []any{}, "route of 0 hops"},
		{"hop without peer", "open", open(func(o *protocol.Open) { o.Route[1].Peer = "" }), at{7, 1, 0}, "", "hop 1 of the route has no peer"},
		{"gap in the route", "open", open(func(o *protocol.Open) { o.Route[1].Layers.From = 17 }), at{7, 1, 2, 0}, uint64(17), "hop 1"},
		{"overlap in the route", "open", open(func(o *protocol.Open) { o.Route[1].Layers.From = 15 }), at{7, 1, 2, 0}, uint64(15), "hop 1"},
		{"route not from layer 0", "open", open(func(o *protocol.Open) { o.Route[0].Layers.From = 1 }), at{7, 0, 2, 0}, uint64(1), "hop 0"},
		{"empty hop", "open", open(func(o *protocol.Open) { o.Route[1].Layers.To = 16 }), at{7, 1, 2, 1}, uint64(16), "hop 1"},
		{"index beyond the route", "open", open(func(o *protocol.Open) { o.Index = 2 }), at{8}, uint64(2), "index 2 in a route of 2"},
		{"a prefix beyond the positions", "open", open(func(o *protocol.Open) { o.Positions = 2 }), at{9}, uint64(2), "3 tokens for 2 positions"},
		{"no positions", "open", open(func(o *protocol.Open) { o.Positions = 0 }), at{9}, uint64(0), "no positions"},
		{"temperature NaN", "open", open(func(o *protocol.Open) { o.Request.Sampling.Temperature = nan }), at{12, 0}, nan, "temperature is not a finite"},
		{"top-p infinite", "open", open(func(o *protocol.Open) { o.Request.Sampling.TopP = inf }), at{12, 2}, inf, "top-p is not a finite"},
		{"min-p negative", "open", open(func(o *protocol.Open) { o.Request.Sampling.MinP = -0.5 }), at{12, 3}, float32(-0.5), "negative"},
		{"repeat penalty -Inf", "open", open(func(o *protocol.Open) { o.Request.Sampling.RepeatPenalty = -inf }), at{12, 4}, -inf, ""},
		{"request ID with a line break", "open", open(func(o *protocol.Open) { o.Request.RequestID = "a\nb" }), at{10}, "a\nb", "request ID holds control"},

		{"rounding at the first layer", "open", open(func(o *protocol.Open) { o.Rounds = []uint32{0} }), at{13}, []any{uint64(0)}, "rounded boundary 0"},
		{"rounding behind the last layer", "open", open(func(o *protocol.Open) { o.Rounds = []uint32{32} }), at{13}, []any{uint64(32)}, "rounded boundary 32"},
		{"rounding twice", "open", open(func(o *protocol.Open) { o.Rounds = []uint32{16, 16} }), at{13}, []any{uint64(16), uint64(16)}, "rounded boundary 16"},
		{"rounding to f32", "open", open(func(o *protocol.Open) { o.Wire = protocol.F32 }), at{5}, uint64(1), "rounds nothing"},
		{"sampling beside local ends", "open", open(func(o *protocol.Open) { o.Numerics += protocol.LocalEnds }), at{4}, "n1/kv-f16/wire-f16/local-ends", "draw no tokens"},
		{"tokens beside local ends", "open", open(func(o *protocol.Open) {
			o.Numerics += protocol.LocalEnds
			o.Request.Sampling = protocol.Sampling{}
		}), nil, nil, "given no tokens"},
		{"more outputs than rows", "opened", func(f protocol.Frame) { f.(*protocol.Opened).KeptTo = 8 }, at{5}, uint64(8), "outputs of 8 rows"},
		{"resume of no hops", "resume", func(f protocol.Frame) { f.(*protocol.Resume).Rows = nil }, at{4}, []any{}, "no hops"},
		{"rows of no source", "open", open(func(o *protocol.Open) { o.Rows = 5 }), at{16}, uint64(5), "5 rows to take over from 0 sources"},
		{"sources of no rows", "open-moving", open(func(o *protocol.Open) { o.Rows = 0 }), at{16}, uint64(0), "0 rows to take over from 2 sources"},
		{"source without peer", "open-moving", open(func(o *protocol.Open) { o.Sources[0].Peer = "" }), at{15, 0, 0}, "", "source 0"},
		{"the receiver as a source", "open-moving", open(func(o *protocol.Open) { o.Sources[1].Peer = "12D3KooWA" }), at{15, 1, 0}, "12D3KooWA", "another peer than the receiver"},
		{"gap in the sources", "open-moving", open(func(o *protocol.Open) { o.Sources[1].Layers.From = 25 }), at{15, 1, 2, 0}, uint64(25), "source 1"},
		{"empty source", "open-moving", open(func(o *protocol.Open) { o.Sources[0].Layers.To = 0 }), at{15, 0, 2, 1}, uint64(0), "source 0"},
		{"sources end early", "open-moving", open(func(o *protocol.Open) { o.Sources[1].Layers.To = 31 }), at{15, 1, 2, 1}, uint64(31), "end at layer 31"},
		{"sources go beyond", "open-moving", open(func(o *protocol.Open) { o.Sources[1].Layers.To = 33 }), at{15, 1, 2, 1}, uint64(33), "end at layer 33"},

		{"attach to the first hop", "attach", func(f protocol.Frame) { f.(*protocol.Attach).Index = 0 }, at{3}, uint64(0), "first hop"},

		{"no rows", "step", step(func(s *protocol.Step) { s.Tokens, s.Logits = nil, nil }), at{5}, []any{}, "without rows"},
		{"rows beyond all positions", "step", step(func(s *protocol.Step) { s.Position = protocol.MaxPositions }), at{4}, uint64(protocol.MaxPositions), "last position"},
		{"logits of no row", "step", step(func(s *protocol.Step) { s.Logits[1] = 3 }), at{6, 1}, uint64(3), "logits of row 3"},
		{"logits twice", "step", step(func(s *protocol.Step) { s.Logits[0] = 2 }), at{6, 0}, uint64(2), "do not rise"},

		{"no element type", "hidden-states", result(func(r *protocol.IntermediateResult) { r.DType = 0 }), at{8}, uint64(0), "element type"},
		{"unknown element type", "hidden-states", result(func(r *protocol.IntermediateResult) { r.DType = 3 }), at{8}, uint64(3), "element type"},
		{"broken rows", "hidden-states", result(func(r *protocol.IntermediateResult) { r.Hidden = r.Hidden[:6] }), at{9}, make([]byte, 6), "6 bytes of hidden states"},
		{"no rows of a result", "hidden-states", result(func(r *protocol.IntermediateResult) { r.Tokens, r.Logits = nil, nil }), at{5}, []any{}, "without rows"},
		{"hidden states and a token", "hidden-states", result(func(r *protocol.IntermediateResult) { r.Generated = []protocol.TokenID{1} }), at{10}, []any{uint64(1)}, "both hidden states"},
		{"hidden states and logits", "hidden-states", result(func(r *protocol.IntermediateResult) { r.LogitRows = make([]byte, 4) }), at{11}, make([]byte, 4), "both hidden states"},
		{"timing of no layers", "hidden-states", result(func(r *protocol.IntermediateResult) { r.Hops[0].Layers.To = 0 }), at{13, 0, 0}, wire(0, 0), "timing 0"},
		{"timings out of order", "token-and-logits", result(func(r *protocol.IntermediateResult) { r.Hops[1].Layers.From = 17 }), at{13, 1, 0}, wire(17, 32), "timing 1"},
		{"no token though asked", "token-and-logits", result(func(r *protocol.IntermediateResult) { r.Generated = nil }), at{10}, []any{}, "0 generated tokens"},
		{"a token though not asked", "token-and-logits", result(func(r *protocol.IntermediateResult) { r.Sample = false }), at{7}, false, "1 generated tokens"},
		{"no logits though asked", "token-and-logits", result(func(r *protocol.IntermediateResult) { r.LogitRows = nil }), at{11}, []byte{}, "no logits"},
		{"logits though not asked", "token-and-logits", result(func(r *protocol.IntermediateResult) { r.Logits = nil }), at{6}, []any{}, "nobody wanted"},
		{"broken logits", "token-and-logits", result(func(r *protocol.IntermediateResult) { r.LogitRows = r.LogitRows[:6] }), at{11}, make([]byte, 6), "6 bytes of logits"},

		{"hidden states and log probabilities", "hidden-states", result(func(r *protocol.IntermediateResult) { r.Logprobs = []protocol.Logprob{{Token: 1}} }), at{12}, []any{[]any{uint64(1), float32(0)}}, "both hidden states"},
		{"log probabilities of another token", "token-and-logits", result(func(r *protocol.IntermediateResult) { r.Logprobs[0].Token = 3 }), at{12, 0, 0}, uint64(3), "not of the generated token"},
		{"log probability infinite", "token-and-logits", result(func(r *protocol.IntermediateResult) { r.Logprobs[0].Value = -inf }), at{12, 0, 1}, -inf, "not a finite"},
		{"bias out of order", "open", open(func(o *protocol.Open) { o.Request.Sampling.Bias = []protocol.Bias{{Token: 5}, {Token: 5}} }), at{12, 9}, []any{[]any{uint64(5), float32(0)}, []any{uint64(5), float32(0)}}, "do not rise"},
		{"grammar without a language", "open", open(func(o *protocol.Open) { o.Request.Sampling.Language = 0 }), at{12, 10}, uint64(0), "in language 0"},
		{"language without a grammar", "open", open(func(o *protocol.Open) { o.Request.Sampling.Grammar = nil }), at{12, 11}, []byte{}, "0 bytes in language 1"},

		{"export of no layers", "export", func(f protocol.Frame) { f.(*protocol.Export).Layers.To = 8 }, at{2}, wire(8, 8), "layers 8 to 8"},
		{"export of no rows", "export", func(f protocol.Frame) { f.(*protocol.Export).End = 128 }, at{5}, uint64(128), "rows 128 to 128"},
		{"KV of no layers", "kv-rows", kv(func(f *protocol.KVRows) { f.Layers.To = 30 }), at{2}, wire(30, 30), "layers 30 to 30"},
		{"KV of no rows", "kv-rows", kv(func(f *protocol.KVRows) { f.Rows = 0 }), at{4}, uint64(0), "without rows"},
		{"a token too few", "kv-rows", kv(func(f *protocol.KVRows) { f.Tokens = f.Tokens[:1] }), at{5}, []any{uint64(1)}, "1 tokens of 2 rows"},
		{"no keys and values", "kv-rows", kv(func(f *protocol.KVRows) { f.KV = nil }), at{6}, []byte{}, "0 bytes"},
		{"broken keys and values", "kv-rows", kv(func(f *protocol.KVRows) { f.KV = f.KV[:14] }), at{6}, make([]byte, 14), "14 bytes of keys and values"},

		{"link wanted to nobody", "links-request", func(f protocol.Frame) { f.(*protocol.LinksRequest).Want[0].Peer = "" }, at{1, 0, 0}, "", "wanted link 0"},
		{"link to nobody", "links", func(f protocol.Frame) { f.(*protocol.Links).Links[1].Peer = "" }, at{1, 1, 0}, "", "link 1 goes to nobody"},
		{"burst of nothing", "burst", func(f protocol.Frame) { f.(*protocol.Burst).Pad = nil }, at{2}, []byte{}, "without bytes"},
		{"move from no layers", "move", func(f protocol.Frame) { f.(*protocol.Move).Have = layers(4, 4) }, at{2}, wire(4, 4), "a move from layers 4 to 4"},
		{"move to no layers", "move", func(f protocol.Frame) { f.(*protocol.Move).Take = layers(9, 8) }, at{3}, wire(9, 8), "to layers 9 to 8"},
		{"moving to no layers", "moving", func(f protocol.Frame) { f.(*protocol.Moving).Take = layers(8, 8) }, at{1}, wire(8, 8), "layers 8 to 8"},

		{"no code", "error", func(f protocol.Frame) { f.(*protocol.Error).Code = 0 }, at{4}, uint64(0), "without a code"},
		{"layers backwards", "error", func(f protocol.Frame) { f.(*protocol.Error).Layers = layers(9, 8) }, at{6}, wire(9, 8), "layers 9 to 8"},
	} {
		for _, s := range samples() {
			if s.name != c.sample {
				continue
			}
			if c.value != nil {
				if f, err := protocol.Decode(replace(t, s, c.place, c.value)); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: decoded %+v, %v, want %q", c.name, f, err, c.want)
				}
			}
			c.change(s.frame)
			dst := []byte("kept")
			if got, err := protocol.Append(dst, s.frame); err == nil || !strings.Contains(err.Error(), c.want) || !bytes.Equal(got, dst) {
				t.Errorf("%s: encoded %x, %v, want %q", c.name, got, err, c.want)
			}
		}
	}
}

// A prefill chunk that asks for nothing returns nothing but its rows' passage.
func TestEmptyOutputOfTheLastHop(t *testing.T) {
	t.Parallel()
	f := &protocol.IntermediateResult{Tokens: []protocol.TokenID{1, 2}, DType: protocol.F32}
	body, err := protocol.AppendBody(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := protocol.Decode(body); err != nil {
		t.Error(err)
	}
}

// Codes of newer nodes pass, so that their reason is told.
func TestUnknownCodePasses(t *testing.T) {
	t.Parallel()
	body, err := protocol.AppendBody(nil, &protocol.Error{Code: 99, Message: "new"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := protocol.Decode(body)
	if err != nil || f.(*protocol.Error).Code.String() != "code(99)" {
		t.Errorf("%v, %v", f, err)
	}
}

// Errors are told whatever they quote: texts for people are cut and cleaned.
func TestProseIsCleaned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"plain", "no session slot: try another node", "no session slot: try another node"},
		{"line break", "first\nsecond\x1b[31m", "first second [31m"},
		{"C1 control", "a\u0085b", "a b"},
		{"not UTF-8", "a\xffb", "a?b"},
		{"long", strings.Repeat("x", 5000), strings.Repeat("x", protocol.MaxMessage)},
		{"cut within a character", strings.Repeat("x", protocol.MaxMessage-1) + "é", strings.Repeat("x", protocol.MaxMessage-1)},
		{"long and not UTF-8", strings.Repeat("\xff", 5000), "?"},
		{"just fits", strings.Repeat("é", protocol.MaxMessage/2), strings.Repeat("é", protocol.MaxMessage/2)},
	} {
		in := &protocol.Error{Code: protocol.CodeInternal, Message: c.in}
		body, err := protocol.AppendBody(nil, in)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		f, err := protocol.Decode(body)
		if err != nil || f.(*protocol.Error).Message != c.want {
			t.Errorf("%s: %v, %v, want %q", c.name, f, err, c.want)
		}
		if in.Message != c.in {
			t.Errorf("%s: the frame was changed to %q", c.name, in.Message)
		}
	}
}
