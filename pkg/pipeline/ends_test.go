// SPDX-License-Identifier: MIT

package pipeline_test

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// wordEnds are ends of a model with two hidden states and four tokens: token t is embedded as (t, 1), and the logits of (a, b) are a, b, a+b and a-b.
type wordEnds struct{}

func (wordEnds) Embed(dst []float32, tokens []protocol.TokenID) error {
	for i, t := range tokens {
		if t > 3 {
			return errors.New("no such token")
		}
		dst[2*i], dst[2*i+1] = float32(t), 1
	}
	return nil
}

func (wordEnds) Logits(dst, hidden []float32) error {
	for i := range len(hidden) / 2 {
		a, b := hidden[2*i], hidden[2*i+1]
		copy(dst[4*i:], []float32{a, b, a + b, a - b})
	}
	return nil
}

// newWordEnds draws as many as the history is long, and spoils the logits, as a sampler may.
func newWordEnds() *pipeline.Ends {
	return pipeline.NewEnds(pipeline.EndsConfig{
		Model: wordEnds{}, Hidden: 2, Vocab: 4, Sampling: protocol.Sampling{Seed: 100},
		Draw: func(logits []float32, history []protocol.TokenID, p protocol.Sampling) protocol.TokenID {
			sum := protocol.TokenID(p.Seed)
			for _, t := range history {
				sum = 10*sum + t
			}
			sum += protocol.TokenID(logits[2])
			clear(logits)
			return sum
		},
	})
}

func floats(b []byte) []float32 {
	var list []float32
	for ; len(b) > 0; b = b[4:] {
		list = append(list, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return list
}

func enter(t *testing.T, e *pipeline.Ends, f protocol.Frame) *protocol.IntermediateResult {
	t.Helper()
	got, err := e.Enter(f)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := got.(*protocol.IntermediateResult)
	if !ok {
		t.Fatalf("%T became %T", f, got)
	}
	if _, err := protocol.AppendBody(nil, r); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(r.Tokens, func(t protocol.TokenID) bool { return t != 0 }) || r.Sample || len(r.Hops) > 0 || r.Digest != protocol.Digest(r) {
		t.Errorf("the first hop is sent %+v", r)
	}
	return r
}

// answer is what a last hop would give for rows of an input, as it lies before the head.
func answer(in *protocol.IntermediateResult, hidden ...float32) *protocol.IntermediateResult {
	r := *in
	r.Tokens, r.Logits = slices.Clone(in.Tokens), slices.Clone(in.Logits)
	r.Hidden, r.LogitRows = nil, protocol.AppendHidden(nil, hidden, protocol.F32)
	return &r
}

func TestEnds(t *testing.T) {
	t.Parallel()
	e := newWordEnds()
	o := e.Open(&protocol.Open{Numerics: "n1" + protocol.LocalEnds, Positions: 9, Request: protocol.InferenceRequest{
		RequestID: "r", MaxTokens: 5, Sampling: protocol.Sampling{Temperature: 1, Seed: 7},
	}})
	if o.Request.RequestID != "r" || o.Request.MaxTokens != 0 || !reflect.ValueOf(o.Request.Sampling).IsZero() || o.Positions != 9 || !o.LocalEnds() {
		t.Errorf("hops are told %+v", o)
	}

	// A prompt in two chunks, both under way at once: logits of its first row, then a draw.
	first := enter(t, e, &protocol.Step{Tokens: []protocol.TokenID{3, 1}, Logits: []uint32{0}})
	if got := floats(first.Hidden); !slices.Equal(got, []float32{3, 1, 1, 1}) || !slices.Equal(first.Logits, []uint32{0}) {
		t.Errorf("rows %v, wanted %v", got, first.Logits)
	}
	one := answer(first, 5, 6)
	second := enter(t, e, &protocol.Step{Step: 1, Position: 2, Tokens: []protocol.TokenID{2, 2}, Logits: []uint32{0}, Sample: true})
	if !slices.Equal(second.Logits, []uint32{0, 1}) {
		t.Errorf("wanted %v, but the last row is drawn from", second.Logits)
	}
	two := answer(second, 7, 8, 1, 2)
	if err := e.Leave(one); err != nil || !slices.Equal(floats(one.LogitRows), []float32{5, 6, 11, -1}) || len(one.Generated) > 0 || one.Sample {
		t.Errorf("%v, %+v", err, one)
	}
	again := *one
	if err := e.Leave(&again); err != nil || !slices.Equal(again.LogitRows, one.LogitRows) {
		t.Errorf("an answer that comes twice became %+v, %v", again, err)
	}
	if err := e.Leave(two); err != nil || !slices.Equal(floats(two.LogitRows), []float32{7, 8, 15, -1}) || !two.Sample || !slices.Equal(two.Logits, []uint32{0}) {
		t.Errorf("%v, %+v", err, two)
	}
	if want := protocol.TokenID(1003122 + 3); !slices.Equal(two.Generated, []protocol.TokenID{want}) {
		t.Errorf("drew %v, want %d: of the whole history, by the request's seed", two.Generated, want)
	}

	// The next epoch: the first hop has three rows and embeds none of them again; what was under way before is not known any more.
	old := answer(enter(t, e, &protocol.Step{Step: 2, Position: 4, Tokens: []protocol.TokenID{0}, Sample: true}), 1, 1)
	if f, err := e.Enter(&protocol.Resume{Epoch: 1, Rows: []uint32{3, 0}}); err != nil || f.FrameType() != protocol.TypeResume {
		t.Errorf("a resume became %+v, %v", f, err)
	}
	if had := enter(t, e, &protocol.Step{Epoch: 1, Step: 1, Tokens: []protocol.TokenID{3, 1, 2}}); len(had.Hidden) > 0 {
		t.Errorf("rows that the first hop has: %v", floats(had.Hidden))
	}
	if lacks := enter(t, e, &protocol.Step{Epoch: 1, Step: 2, Position: 3, Tokens: []protocol.TokenID{2}}); !slices.Equal(floats(lacks.Hidden), []float32{2, 1}) {
		t.Errorf("a row that it lacks: %v", floats(lacks.Hidden))
	}
	before := *old
	if err := e.Leave(old); err != nil || !slices.Equal(old.LogitRows, before.LogitRows) || len(old.Generated) > 0 {
		t.Errorf("an answer of an older epoch became %+v, %v", old, err)
	}
	last := answer(enter(t, e, &protocol.Step{Epoch: 1, Step: 3, Position: 4, Tokens: []protocol.TokenID{0}, Sample: true}), 1, 1)
	if err := e.Leave(last); err != nil || len(last.LogitRows) > 0 || !slices.Equal(last.Generated, []protocol.TokenID{10031220 + 2}) {
		t.Errorf("%v, %+v", err, last)
	}
	// Rolled back and other tokens fed: the history is theirs.
	if _, err := e.Enter(&protocol.Truncate{Epoch: 1, Step: 4, Position: 2}); err != nil {
		t.Error(err)
	}
	other := answer(enter(t, e, &protocol.Step{Epoch: 1, Step: 5, Position: 2, Tokens: []protocol.TokenID{0, 3}, Sample: true}), 0, 0)
	if err := e.Leave(other); err != nil || !slices.Equal(other.Generated, []protocol.TokenID{1003103}) {
		t.Errorf("%v, %+v", err, other)
	}
	if e.Took() <= 0 {
		t.Error("nothing took time")
	}
}

// Answers that cannot be right are errors that blame the hop, before anything is computed of them.
func TestEndsRefuse(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*protocol.IntermediateResult){
		"no rows":        func(r *protocol.IntermediateResult) { r.LogitRows = nil },
		"a row less":     func(r *protocol.IntermediateResult) { r.LogitRows = r.LogitRows[8:] },
		"a byte more":    func(r *protocol.IntermediateResult) { r.LogitRows = append(r.LogitRows, 0) },
		"other rows":     func(r *protocol.IntermediateResult) { r.Logits[0] = 1; r.Logits[1] = 2 },
		"more rows":      func(r *protocol.IntermediateResult) { r.Logits = append(r.Logits, 2) },
		"nothing at all": func(r *protocol.IntermediateResult) { *r = protocol.IntermediateResult{} },
	} {
		e := newWordEnds()
		r := answer(enter(t, e, &protocol.Step{Tokens: []protocol.TokenID{1, 2, 3}, Logits: []uint32{0}, Sample: true}), 1, 2, 3, 4)
		spoil(r)
		if err := e.Leave(r); !errors.Is(err, &protocol.Error{Code: protocol.CodeBadFrame}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e := newWordEnds()
	if _, err := e.Enter(&protocol.Step{Tokens: []protocol.TokenID{9}}); err == nil {
		t.Error("a token that the model has not is embedded")
	}
	if _, err := e.Enter(&protocol.Step{Position: 5, Tokens: []protocol.TokenID{1}}); err == nil {
		t.Error("rows before the first are not known, and nothing is said")
	}
}

// A decode step takes a map entry and a list of rows; the frame and its rows are used again. Not parallel: it counts the whole process.
func TestEndsAllocateLittle(t *testing.T) {
	const most = 6
	e := newWordEnds()
	position, hidden := uint32(0), []float32{1, 1}
	var tokens [1]protocol.TokenID
	if n := testing.AllocsPerRun(1000, func() {
		step := protocol.Step{Step: position, Position: position, Tokens: tokens[:], Sample: true}
		f, err := e.Enter(&step)
		if err != nil {
			t.Fatal(err)
		}
		r := *f.(*protocol.IntermediateResult)
		r.Hidden, r.LogitRows = nil, protocol.AppendHidden(nil, hidden, protocol.F32)
		if err := e.Leave(&r); err != nil {
			t.Fatal(err)
		}
		position++
	}); n > most {
		t.Errorf("%v allocations a token, want at most %d", n, most)
	}
}
