// SPDX-License-Identifier: MIT

package layers_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Bounds on the relative error. In the F32 mode both sides compute in float32, and ours gives the same bits everywhere: gpt-oss with
// YaRN's ramp rounded, which its is not, would be 1.3e-4 off. In the normal mode activations are float32 too, as the weights are F16, but the cache is f16, which Gemma's large values feel more.
const (
	boundF32         = 5e-6 // found: 1.5e-6
	boundNormal      = 1e-3 // found: 3.2e-4
	boundNormalGemma = 2e-3 // found: 6.3e-4
)

// TestAgainstTransformers compares logits of all positions, and greedy continuations, with those of Hugging Face transformers in float32.
func TestAgainstTransformers(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic on one goroutine: nothing for the race detector")
	}
	t.Parallel()
	for _, name := range []string{"llama3-rope", "mistral", "mixtral", "qwen2", "qwen3", "phi3", "gemma2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkReference(t, testdata(t, "golden", "arch", name))
		})
	}
	// What tools/golden-arch has made.
	own, err := filepath.Glob(filepath.Join("testdata", "arch", "*", "model.gguf"))
	if err != nil || len(own) < 8 {
		t.Fatalf("%d references of our own, want 8 or more: %v", len(own), err)
	}
	for _, path := range own {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			checkReference(t, dir)
		})
	}
}

// checkReference compares with one folder's data (golden/arch/README.md).
func checkReference(t *testing.T, dir string) {
	t.Helper()
	normal := boundNormal
	if strings.HasPrefix(filepath.Base(dir), "gemma") {
		normal = boundNormalGemma
	}
	file := openFile(t, filepath.Join(dir, "model.gguf"))
	raw, err := os.ReadFile(filepath.Join(dir, "ids.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		IDs      map[string][]protocol.TokenID
		Greedy16 map[string][]protocol.TokenID
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []struct {
		opt   layers.Options
		bound float64
	}{{layers.Options{F32: true}, boundF32}, {layers.Options{}, normal}} {
		for _, prompt := range slices.Sorted(maps.Keys(golden.IDs)) {
			m := load(t, file, mode.opt)
			c := m.NewCache(64)
			in := layers.Input{Tokens: golden.IDs[prompt]}
			for i := range in.Tokens {
				in.Logits = append(in.Logits, uint32(i))
			}
			var out layers.Output
			if err := m.Forward(c, in, &out); err != nil {
				t.Fatal(err)
			}
			relative, worst := distance(t, out.Logits, readNPY(t, filepath.Join(dir, "logits."+prompt+".npy")))
			t.Logf("%s, f32=%v: relative error %.2g, worst difference %.2g", prompt, mode.opt.F32, relative, worst)
			if !(relative <= mode.bound) {
				t.Errorf("%s, f32=%v: relative error %.2g, at most %.2g is allowed", prompt, mode.opt.F32, relative, mode.bound)
			}
			logits := out.Logits[len(out.Logits)-m.Config().Vocab:]
			for i, id := range golden.Greedy16[prompt] {
				if got := protocol.TokenID(kernel.ArgMax(logits)); got != id {
					t.Errorf("%s, f32=%v: greedy token %d is %d, want %d", prompt, mode.opt.F32, i, got, id)
				}
				logits = lastLogits(t, m, c, []protocol.TokenID{id})
			}
		}
		checkSplits(t, file, golden.IDs["p40"], mode.opt)
	}
}

// checkSplits: in two parts, in four, and with each layer on its own, in steps and by threads of any number, the logits are the same bits.
func checkSplits(t *testing.T, file *gguf.File, tokens []protocol.TokenID, opt layers.Options) {
	t.Helper()
	n := parse(t, file).NLayers
	whole := newChain(t, file, n, nil, 1, opt)
	want, err := whole.step(whole.open(64), tokens)
	if err != nil {
		t.Fatal(err)
	}
	var single []int
	for l := 1; l < n; l++ {
		single = append(single, l)
	}
	for i, cuts := range [][]int{{n / 2}, {n / 4, n / 2, 3 * n / 4}, single} {
		c := newChain(t, file, n, cuts, i+1, opt)
		s := c.open(64)
		var got []float32
		for part := range slices.Chunk(tokens, []int{1, 7, 32}[i]) {
			rows, err := c.step(s, part)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rows...)
		}
		if err := sameBits(got, want); err != nil {
			t.Errorf("cut before %v: %v", cuts, err)
		}
	}
}

// distance is the root mean square of the differences over that of what is wanted, and the largest difference.
func distance(t *testing.T, got, want []float32) (relative, worst float64) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d logits, want %d", len(got), len(want))
	}
	var diff, square float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff += d * d
		square += float64(w) * float64(w)
		worst = max(worst, math.Abs(d))
	}
	return math.Sqrt(diff / square), worst
}

// readNPY reads an array of little-endian float32 in C order.
func readNPY(t testing.TB, path string) []float32 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values, err := parseNPY(raw)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return values
}

func parseNPY(raw []byte) ([]float32, error) {
	if len(raw) < 10 || string(raw[:8]) != "\x93NUMPY\x01\x00" {
		return nil, fmt.Errorf("not a version 1 .npy file")
	}
	header, data := raw[10:], raw[10:]
	n := int(binary.LittleEndian.Uint16(raw[8:]))
	header, data = header[:n], data[n:]
	if !strings.Contains(string(header), "'<f4'") || !strings.Contains(string(header), "'fortran_order': False") {
		return nil, fmt.Errorf("header %s", header)
	}
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values, nil
}
