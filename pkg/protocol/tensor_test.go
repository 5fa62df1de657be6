// SPDX-License-Identifier: MIT

package protocol_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestHidden(t *testing.T) {
	t.Parallel()
	inf := float32(math.Inf(1))
	x := []float32{0, float32(math.Copysign(0, -1)), 1, -2, 65504, 0x1p-24, 0.1, inf, -inf}
	for _, c := range []struct {
		d    protocol.DType
		want string
	}{
		{protocol.F32, "00000000 00000080 0000803f 000000c0 00e07f47 00008033 cdcccc3d 0000807f 000080ff"},
		{protocol.F16, "0000 0080 003c 00c0 ff7b 0100 662e 007c 00fc"},
	} {
		got := protocol.AppendHidden([]byte("x"), x, c.d)
		if want := append([]byte("x"), unhex(t, c.want)...); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", c.d, got, want)
		}
		back := make([]float32, len(x))
		if err := protocol.HiddenInto(back, got[1:], c.d); err != nil {
			t.Error(err)
		}
		for i := range x {
			if i == 6 && c.d == protocol.F16 {
				continue // 0.1 is rounded
			}
			if math.Float32bits(back[i]) != math.Float32bits(x[i]) {
				t.Errorf("%s: element %d is %g, want %g", c.d, i, back[i], x[i])
			}
		}
	}
}

// f16 rounds to nearest, ties to even: 2048 and 2050 are neighbours there.
func TestHiddenRoundsToNearestEven(t *testing.T) {
	t.Parallel()
	for in, want := range map[float32]float32{2049: 2048, 2051: 2052, 2049.5: 2050, 65519: 65504, 65520: float32(math.Inf(1)), 0x1p-25: 0, 0x1.8p-24: 0x1p-23} {
		back := make([]float32, 1)
		if err := protocol.HiddenInto(back, protocol.AppendHidden(nil, []float32{in}, protocol.F16), protocol.F16); err != nil || back[0] != want {
			t.Errorf("%g becomes %g, %v, want %g", in, back[0], err, want)
		}
	}
}

// Every bit pattern passes through f32: signalling NaN as well.
func TestHiddenKeepsBits(t *testing.T) {
	t.Parallel()
	for _, bits := range []uint32{0x7fc00000, 0x7f800001, 0xffffffff, 1, 0x80000001, 0x007fffff} {
		b := protocol.AppendHidden(nil, []float32{math.Float32frombits(bits)}, protocol.F32)
		if got := binary.LittleEndian.Uint32(b); got != bits {
			t.Errorf("%08x becomes %08x", bits, got)
		}
		back := make([]float32, 1)
		if err := protocol.HiddenInto(back, b, protocol.F32); err != nil || math.Float32bits(back[0]) != bits {
			t.Errorf("%08x comes back as %08x, %v", bits, math.Float32bits(back[0]), err)
		}
	}
}

func TestHiddenIntoRefusesOtherSizes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n, bytes int
		d        protocol.DType
	}{{2, 7, protocol.F32}, {2, 9, protocol.F32}, {2, 8, protocol.F16}, {2, 0, protocol.F16}, {0, 1, protocol.F32}, {2, 8, 0}, {2, 8, 3}, {0, 0, 0}} {
		if err := protocol.HiddenInto(make([]float32, c.n), make([]byte, c.bytes), c.d); err == nil {
			t.Errorf("%d bytes pass for %d elements of %s", c.bytes, c.n, c.d)
		}
	}
}

// Digest is SHA-256 over the concatenation that docs/protocol.md lists.
func TestDigest(t *testing.T) {
	t.Parallel()
	hidden := unhex(t, "02 02000000 0800000000000000 003c00c00000ff7b 0000000000000000 0000000000000000")
	token := unhex(t, "01 02000000 0000000000000000 0400000000000000 02000000 0c00000000000000 0000803f0000000000000040 02000000 000000bf 01000000 000080bf")
	for _, s := range samples() {
		f, ok := s.frame.(*protocol.IntermediateResult)
		if !ok {
			continue
		}
		sum := sha256.Sum256(map[string][]byte{"hidden-states": hidden, "token-and-logits": token}[s.name])
		if got := protocol.Digest(f); got != [16]byte(sum[:16]) {
			t.Errorf("%s: %x, want %x", s.name, got, sum[:16])
		}
	}
}

// The digest tells outputs apart, and does not see what is not output.
func TestDigestCovers(t *testing.T) {
	t.Parallel()
	base := func() *protocol.IntermediateResult {
		return &protocol.IntermediateResult{Tokens: []protocol.TokenID{1, 2}, DType: protocol.F32, Generated: []protocol.TokenID{3}, LogitRows: []byte{1, 2, 3, 4}}
	}
	want := protocol.Digest(base())
	for name, change := range map[string]func(*protocol.IntermediateResult){
		"element type": func(f *protocol.IntermediateResult) { f.DType = protocol.F16 },
		"rows":         func(f *protocol.IntermediateResult) { f.Tokens = f.Tokens[:1] },
		"hidden":       func(f *protocol.IntermediateResult) { f.Hidden = []byte{0} },
		"generated":    func(f *protocol.IntermediateResult) { f.Generated[0]++ },
		"logits":       func(f *protocol.IntermediateResult) { f.LogitRows[3]++ },
		"moved bytes":  func(f *protocol.IntermediateResult) { f.Hidden, f.LogitRows = f.LogitRows, nil },
		"one more":     func(f *protocol.IntermediateResult) { f.Generated = append(f.Generated, 0) },
	} {
		f := base()
		if change(f); protocol.Digest(f) == want {
			t.Errorf("%s does not change the digest", name)
		}
	}
	for name, change := range map[string]func(*protocol.IntermediateResult){
		"position": func(f *protocol.IntermediateResult) { f.Position++ },
		"step":     func(f *protocol.IntermediateResult) { f.Step++ },
		"epoch":    func(f *protocol.IntermediateResult) { f.Epoch++ },
		"timings":  func(f *protocol.IntermediateResult) { f.Hops = make([]protocol.HopTiming, 1) },
		"digest":   func(f *protocol.IntermediateResult) { f.Digest[0]++ },
	} {
		f := base()
		if change(f); protocol.Digest(f) != want {
			t.Errorf("%s changes the digest", name)
		}
	}
}

// The digest of a part of a KV cache covers all that is taken over, and nothing else.
func TestKVDigestCovers(t *testing.T) {
	t.Parallel()
	base := func() *protocol.KVRows {
		return &protocol.KVRows{Layers: protocol.LayerRange{From: 1, To: 3}, Position: 5, Rows: 2, Tokens: []protocol.TokenID{1, 2}, KV: []byte{1, 2, 3, 4}}
	}
	want := protocol.KVDigest(base())
	for name, change := range map[string]func(*protocol.KVRows){
		"first layer": func(f *protocol.KVRows) { f.Layers.From-- },
		"end layer":   func(f *protocol.KVRows) { f.Layers.To++ },
		"position":    func(f *protocol.KVRows) { f.Position++ },
		"rows":        func(f *protocol.KVRows) { f.Rows++ },
		"tokens":      func(f *protocol.KVRows) { f.Tokens[1]++ },
		"no tokens":   func(f *protocol.KVRows) { f.Tokens = nil },
		"bytes":       func(f *protocol.KVRows) { f.KV[3]++ },
		"moved bytes": func(f *protocol.KVRows) { f.Tokens, f.KV = f.Tokens[:1], append([]byte{2, 0, 0, 0}, f.KV...) },
	} {
		f := base()
		if change(f); protocol.KVDigest(f) == want {
			t.Errorf("%s does not change the digest", name)
		}
	}
	f := base()
	if f.Session[0]++; protocol.KVDigest(f) != want {
		t.Error("the session changes the digest")
	}
}

func TestParseModelID(t *testing.T) {
	t.Parallel()
	want := rising[protocol.ModelID](0x20)
	for _, s := range []string{want.String(), strings.ToUpper(want.String())} {
		if got, err := protocol.ParseModelID(s); err != nil || got != want {
			t.Errorf("%q: %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", want.Short(), want.String() + "00", want.String()[:63], want.String()[:63] + "g", " " + want.String()} {
		if got, err := protocol.ParseModelID(s); err == nil || got != (protocol.ModelID{}) {
			t.Errorf("%q: %s, %v", s, got, err)
		}
	}
}
