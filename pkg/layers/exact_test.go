// SPDX-License-Identifier: MIT

package layers_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// chain is a model cut into ranges, each with the caches of some sessions.
type chain struct {
	models []*layers.Model
	outs   []layers.Output
}

// newChain loads the layers of a file, cut before each of cuts.
func newChain(t testing.TB, f *gguf.File, n int, cuts []int, threads int, opt layers.Options) *chain {
	t.Helper()
	opt.Threads = threads
	c := new(chain)
	from := 0
	for _, to := range append(slices.Clone(cuts), n) {
		c.models = append(c.models, loadRange(t, f, protocol.LayerRange{From: from, To: to}, opt))
		from = to
	}
	c.outs = make([]layers.Output, len(c.models))
	return c
}

type session []*layers.Cache // one a model

func (c *chain) open(positions int) session {
	var s session
	for _, m := range c.models {
		s = append(s, m.NewCache(positions))
	}
	return s
}

// step runs tokens through all ranges and returns the logits of all rows, [rows][vocab].
func (c *chain) step(s session, tokens []protocol.TokenID) ([]float32, error) {
	in := layers.Input{Tokens: tokens, Logits: make([]uint32, len(tokens))}
	for i := range in.Logits {
		in.Logits[i] = uint32(i)
	}
	for i, m := range c.models {
		if err := m.Forward(s[i], in, &c.outs[i]); err != nil {
			return nil, fmt.Errorf("range %s: %w", m.Range(), err)
		}
		in.Hidden = c.outs[i].Hidden
	}
	return slices.Clone(c.outs[len(c.outs)-1].Logits), nil
}

func (s session) truncate(position int) error {
	for _, c := range s {
		if err := c.Truncate(position); err != nil {
			return err
		}
	}
	return nil
}

// sameBits reports whether a and b are equal bit for bit, and where they are not.
func sameBits(a, b []float32) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d logits, want %d", len(a), len(b))
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return fmt.Errorf("logit %d is %v, want %v", i, a[i], b[i])
		}
	}
	return nil
}

// tinyTokens has two sequences that differ from the start, so that a mix-up of sessions shows.
func tinyTokens(which int) []protocol.TokenID {
	tokens := make([]protocol.TokenID, 26) // more than a tile of keys
	for i := range tokens {
		tokens[i] = protocol.TokenID((7 + 13*which + 29*i + i*i*(3+which)) % tinyVocab)
	}
	return tokens
}

// TestExact is the promise of DESIGN §2.1 for this package: wherever the layers are cut, however a sequence is cut into steps, however many threads compute,
// whichever sessions come between, and whatever was rolled back: the logits of every row are those of one pass by one thread, bit for bit.
func TestExact(t *testing.T) {
	t.Parallel()
	type mode struct {
		opt    layers.Options
		file   *gguf.File
		want   [2][]float32      // logits of all rows of each sequence
		chains map[string]*chain // one for each way to cut and number of threads, made when first drawn
	}
	modes := []*mode{
		{opt: layers.Options{}, file: tiny{}.file(t)},
		{opt: layers.Options{KV: protocol.F32}, file: tiny{}.file(t)},
		{opt: layers.Options{F32: true}, file: tiny{tied: true}.file(t)},
	}
	if testing.Short() {
		modes = modes[:1] // the others differ in arithmetic only, which the race detector need not see
	}
	for _, m := range modes {
		m.chains = map[string]*chain{}
		whole := newChain(t, m.file, tinyDepth, nil, 1, m.opt)
		for which := range m.want {
			var err error
			if m.want[which], err = whole.step(whole.open(tinyContext), tinyTokens(which)); err != nil {
				t.Fatal(err)
			}
		}
		if sameBits(m.want[0], m.want[1]) == nil {
			t.Fatal("two sequences have the same logits: the test would notice nothing")
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		m := modes[rapid.IntRange(0, len(modes)-1).Draw(r, "mode")]
		var cuts []int
		for l := 1; l < tinyDepth; l++ {
			if rapid.Bool().Draw(r, fmt.Sprint("cut before ", l)) {
				cuts = append(cuts, l)
			}
		}
		threads := rapid.IntRange(1, 4).Draw(r, "threads")
		key := fmt.Sprint(cuts, threads)
		c := m.chains[key]
		if c == nil {
			c = newChain(t, m.file, tinyDepth, cuts, threads, m.opt)
			m.chains[key] = c
		}
		checkSessions(r, c, m.want)
	})
}

// checkSessions runs two sessions in turn, in chunks, with steps that are rolled back.
func checkSessions(r *rapid.T, c *chain, want [2][]float32) {
	sessions := [2]session{c.open(tinyContext), c.open(len(tinyTokens(1)) + 8)}
	for {
		which := rapid.IntRange(0, 1).Draw(r, "session")
		s, tokens := sessions[which], tinyTokens(which)
		at := s[0].Len()
		if at == len(tokens) {
			return
		}
		switch rapid.IntRange(0, 4).Draw(r, "what") {
		case 0: // rows that turn out wrong
			wrong := slices.Repeat([]protocol.TokenID{5}, rapid.IntRange(1, 8).Draw(r, "wrong rows"))
			if _, err := c.step(s, wrong); err != nil {
				r.Fatal(err)
			}
			if err := s.truncate(at); err != nil {
				r.Fatal(err)
			}
		case 1: // back to an earlier row
			if err := s.truncate(rapid.IntRange(0, at).Draw(r, "truncate to")); err != nil {
				r.Fatal(err)
			}
			at = s[0].Len()
			fallthrough
		default:
			n := rapid.IntRange(1, len(tokens)-at).Draw(r, "rows")
			got, err := c.step(s, tokens[at:at+n])
			if err != nil {
				r.Fatal(err)
			}
			if err := sameBits(got, want[which][at*tinyVocab:(at+n)*tinyVocab]); err != nil {
				r.Fatalf("session %d, rows %d to %d: %v", which, at, at+n-1, err)
			}
		}
	}
}

// TestExactDemoModel is TestExact on the embedded model, for a few ways to cut.
func TestExactDemoModel(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic on one goroutine: nothing for the race detector")
	}
	t.Parallel()
	ids := readDemoGolden(t).Prompts["chat-ai"].IDs
	f := demo(t)
	whole := newChain(t, f, 32, nil, 1, layers.Options{})
	want, err := whole.step(whole.open(64), ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []struct {
		cuts           []int
		chunk, threads int
	}{
		{[]int{8, 16, 24}, 7, 2},
		{[]int{1, 31}, len(ids), 3},
		{nil, 1, 4},
	} {
		c := newChain(t, f, 32, cut.cuts, cut.threads, layers.Options{})
		s := c.open(64)
		var got []float32
		for part := range slices.Chunk(ids, cut.chunk) {
			rows, err := c.step(s, part)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rows...)
		}
		if err := sameBits(got, want); err != nil {
			t.Errorf("cuts %v, steps of %d, %d threads: %v", cut.cuts, cut.chunk, cut.threads, err)
		}
	}
}

// TestOverlappingRange runs part of the layers that a model holds.
func TestOverlappingRange(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	tokens := tinyTokens(0)[:9]
	whole := newChain(t, f, tinyDepth, nil, 1, layers.Options{})
	want, err := whole.step(whole.open(16), tokens)
	if err != nil {
		t.Fatal(err)
	}
	a := loadRange(t, f, protocol.LayerRange{From: 0, To: tinyDepth - 1}, layers.Options{})
	b := loadRange(t, f, protocol.LayerRange{From: 1, To: tinyDepth}, layers.Options{})
	for cut := 1; cut < tinyDepth; cut++ {
		var hidden, out layers.Output
		if err := a.Forward(a.NewCache(16), layers.Input{Layers: protocol.LayerRange{From: 0, To: cut}, Tokens: tokens}, &hidden); err != nil {
			t.Fatal(err)
		}
		if len(hidden.Logits) != 0 || len(hidden.Hidden) != len(tokens)*tinyHidden {
			t.Fatalf("the first shard gave %d hidden states and %d logits", len(hidden.Hidden), len(hidden.Logits))
		}
		in := layers.Input{Layers: protocol.LayerRange{From: cut, To: tinyDepth}, Hidden: hidden.Hidden, Logits: []uint32{8, 2}}
		if err := b.Forward(b.NewCache(16), in, &out); err != nil {
			t.Fatal(err)
		}
		if len(out.Hidden) != 0 {
			t.Errorf("the last shard gave %d hidden states", len(out.Hidden))
		}
		for i, row := range in.Logits {
			if err := sameBits(out.Logits[i*tinyVocab:(i+1)*tinyVocab], want[int(row)*tinyVocab:int(row+1)*tinyVocab]); err != nil {
				t.Errorf("cut before %d, row %d: %v", cut, row, err)
			}
		}
	}
}

// TestConcurrentModels runs models of one file at once, as the nodes of one process do.
func TestConcurrentModels(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	tokens := tinyTokens(1)[:12]
	var got [tinyDepth - 1][]float32
	var errs [tinyDepth - 1]error
	var wg sync.WaitGroup
	for i := range got {
		c := newChain(t, f, tinyDepth, []int{i + 1}, 2, layers.Options{})
		wg.Go(func() { got[i], errs[i] = c.step(c.open(16), tokens) })
	}
	wg.Wait()
	for i := range got {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if err := sameBits(got[i], got[0]); err != nil {
			t.Error(err)
		}
	}
}
