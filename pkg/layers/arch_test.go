// SPDX-License-Identifier: MIT

package layers_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestAgainstTransformers compares logits of all positions with those of Hugging Face transformers in float32 (golden/arch/README.md): the
// frequency factors of Llama 3.1, and Mistral, whose files say architecture llama.
func TestAgainstTransformers(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic on one goroutine: nothing for the race detector")
	}
	t.Parallel()
	for _, name := range []string{"llama3-rope", "mistral"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := openFile(t, testdata(t, "golden", "arch", name, "model.gguf"))
			raw, err := os.ReadFile(testdata(t, "golden", "arch", name, "ids.json"))
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
			// The normal mode has float32 activations too for F16 weights, but an f16 cache.
			for _, mode := range []struct {
				opt   layers.Options
				bound float64
			}{{layers.Options{F32: true}, 2e-4}, {layers.Options{}, 1e-3}} {
				for _, prompt := range []string{"p7", "p40"} {
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
					want := readNPY(t, testdata(t, "golden", "arch", name, "logits."+prompt+".npy"))
					if len(want) != len(out.Logits) {
						t.Fatalf("%s: %d logits, want %d", prompt, len(out.Logits), len(want))
					}
					var diff, square, worst float64
					for i, w := range want {
						d := float64(out.Logits[i]) - float64(w)
						diff += d * d
						square += float64(w) * float64(w)
						worst = max(worst, math.Abs(d))
					}
					relative := math.Sqrt(diff / square)
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
			}
		})
	}
}

// TestMixtralIsRefused: a mixture of experts says architecture llama, too.
func TestMixtralIsRefused(t *testing.T) {
	t.Parallel()
	file := openFile(t, testdata(t, "golden", "arch", "mixtral", "model.gguf"))
	if _, err := layers.ParseConfig(file.Meta); err == nil || !strings.Contains(err.Error(), "4 experts") {
		t.Errorf("error %v", err)
	}
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
