// SPDX-License-Identifier: MIT

package layers_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/models"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// testdata returns a file of the reference data, or skips.
func testdata(t *testing.T, elem ...string) string {
	t.Helper()
	root := os.Getenv("SHARDNODE_TESTDATA")
	if root == "" {
		t.Skip("SHARDNODE_TESTDATA is not set")
	}
	return filepath.Join(append([]string{root}, elem...)...)
}

// load makes a model of all layers of a file.
func load(t testing.TB, f *gguf.File, opt layers.Options) *layers.Model {
	t.Helper()
	cfg, err := layers.ParseConfig(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	return loadRange(t, f, protocol.LayerRange{From: 0, To: cfg.NLayers}, opt)
}

func loadRange(t testing.TB, f *gguf.File, r protocol.LayerRange, opt layers.Options) *layers.Model {
	t.Helper()
	cfg, err := layers.ParseConfig(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	m, err := layers.Load(f, cfg, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func demo(t testing.TB) *gguf.File {
	t.Helper()
	f, err := gguf.Parse(models.Demo())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func openFile(t testing.TB, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// lastLogits runs tokens as one step and returns the logits of the last row.
func lastLogits(t testing.TB, m *layers.Model, c *layers.Cache, tokens []protocol.TokenID) []float32 {
	t.Helper()
	var out layers.Output
	if err := m.Forward(c, layers.Input{Tokens: tokens, Logits: []uint32{uint32(len(tokens) - 1)}}, &out); err != nil {
		t.Fatal(err)
	}
	return out.Logits
}

// demoGolden is what llama.cpp computes with the demo model's files ("default"), and with their weights as float32 ("f32").
type demoGolden struct {
	Prompts map[string]struct{ IDs []protocol.TokenID }
	Files   map[string]map[string]map[string]struct {
		Greedy []protocol.TokenID `json:"greedy32"`
		Top    [][2]float64       `json:"top10"` // ID and logit
	}
}

func readDemoGolden(t testing.TB) (g demoGolden) {
	t.Helper()
	raw, err := os.ReadFile("testdata/demo-golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestDemoModelAgainstLlamaCpp compares the embedded model, and the Q8_0 file it was tested with.
func TestDemoModelAgainstLlamaCpp(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic on one goroutine: nothing for the race detector")
	}
	t.Parallel()
	for _, c := range []struct {
		file      string
		mode      string
		tolerance float64 // of a top-10 logit
	}{
		{models.DemoName, "f32", 0.01},
		{models.DemoName, "default", 0.25},
		{"demo-32l-q8_0.gguf", "default", 0.25},
	} {
		t.Run(c.file+" "+c.mode, func(t *testing.T) {
			t.Parallel()
			var file *gguf.File
			if c.file == models.DemoName {
				file = demo(t)
			} else {
				file = openFile(t, testdata(t, "demo-model", c.file))
			}
			m := load(t, file, layers.Options{F32: c.mode == "f32", Threads: runtime.NumCPU()})
			golden := readDemoGolden(t)
			for name, want := range golden.Files[c.file][c.mode] {
				ids := golden.Prompts[name].IDs
				cache := m.NewCache(len(ids) + len(want.Greedy))
				logits := lastLogits(t, m, cache, ids)
				worst := 0.0
				for _, top := range want.Top {
					worst = max(worst, math.Abs(float64(logits[int(top[0])])-top[1]))
				}
				if worst > c.tolerance || len(want.Top) != 10 {
					t.Errorf("%s: one of %d top logits is off by %.4f, at most %g is allowed", name, len(want.Top), worst, c.tolerance)
				}
				same := 0
				for _, id := range want.Greedy {
					got := protocol.TokenID(kernel.ArgMax(logits))
					if got != id {
						// Two roundings of the activations may differ where the two best are close; in float32 nothing may.
						if gap := logits[got] - logits[id]; c.mode == "f32" || gap > 0.5 {
							t.Errorf("%s: token %d is %d, want %d (gap %.3f)", name, same, got, id, gap)
						}
						break
					}
					same++
					logits = lastLogits(t, m, cache, []protocol.TokenID{id})
				}
				t.Logf("%s: worst top-10 difference %.4f, %d of %d greedy tokens", name, worst, same, len(want.Greedy))
			}
		})
	}
}

// TestEveryTensorType holds each type to the truth: the same file's weights dequantised and run in float32 (golden/README.md).
func TestEveryTensorType(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of arithmetic on one goroutine: nothing for the race detector")
	}
	t.Parallel()
	raw, err := os.ReadFile(testdata(t, "golden", "llama4", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]struct {
		File    string
		Prompts []struct {
			Len         int
			IDs, Greedy []protocol.TokenID
			Gap         []float64 `json:"greedy_gap"`
			Offset      int64     `json:"truth_offset"`
			RMS         float64   `json:"llamacpp_rms"`
		}
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) < 11 {
		t.Fatalf("%d types, want eleven", len(golden))
	}
	for name, g := range golden {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := openFile(t, testdata(t, "golden", "llama4", g.File))
			truth, err := os.ReadFile(testdata(t, "golden", "llama4", "llama4-"+name+".logits.f32"))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range g.Prompts {
				for _, f32 := range []bool{true, false} {
					if f32 && p.Len > 5 && (name != "Q4_K_M" || p.Len > 64) {
						continue // the all-F32 mode is slow, and the same code for every type once dequantised: one longer prompt is enough
					}
					m := load(t, file, layers.Options{F32: f32})
					cache := m.NewCache(len(p.IDs) + len(p.Greedy))
					logits := lastLogits(t, m, cache, p.IDs)
					var sum, worst float64
					for i, id := range p.Greedy {
						for v, got := range logits {
							at := p.Offset + int64(4*(i*len(logits)+v))
							d := float64(got) - float64(math.Float32frombits(binary.LittleEndian.Uint32(truth[at:])))
							sum += d * d
							worst = max(worst, math.Abs(d))
						}
						if got := kernel.ArgMax(logits); got != int(id) && p.Gap[i] > 0.5 {
							t.Errorf("prompt of %d, f32=%v: token %d is %d, want %d (gap %.2f)", p.Len, f32, i, got, id, p.Gap[i])
						}
						if i+1 < len(p.Greedy) {
							logits = lastLogits(t, m, cache, []protocol.TokenID{id})
						}
					}
					rms := math.Sqrt(sum / float64(len(p.Greedy)*len(logits)))
					t.Logf("prompt of %d, f32=%v: RMS %.5f (llama.cpp %.5f), worst %.5f", p.Len, f32, rms, p.RMS, worst)
					if f32 && worst > 1e-3 {
						t.Errorf("prompt of %d: the F32 mode is off by %.5f, at most 0.001 is allowed", p.Len, worst)
					}
					if !f32 && rms > p.RMS*1.1 {
						t.Errorf("prompt of %d: RMS error %.5f, at most %.5f is allowed", p.Len, rms, p.RMS*1.1)
					}
				}
			}
		})
	}
}
