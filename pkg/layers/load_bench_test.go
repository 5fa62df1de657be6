// SPDX-License-Identifier: MIT

package layers_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/shardnode/shardnode/internal/convert"
	"github.com/shardnode/shardnode/internal/synth"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// BenchmarkLoad reports bytes of weights made ready a second, from a file that is in the page cache, on two threads: four layers of
// the 1.5b shape with embedding and head, of random bytes.
func BenchmarkLoad(b *testing.B) {
	for _, name := range []string{"q8_0", "q4_0", "q4_k_m", "q5_k_m", "q6_k", "f16", "f32"} {
		b.Run(name, func(b *testing.B) {
			f, err := gguf.Open(loadBenchFile(b, name))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			cfg := parse(b, f)
			r := protocol.LayerRange{From: 0, To: cfg.NLayers}
			total, err := layers.PlanBytes(f, cfg, r)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(total)
			for b.Loop() {
				m, err := layers.Load(f, cfg, r, layers.Options{Threads: 2})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				m.Close()
				b.StartTimer()
			}
		})
	}
}

// loadBenchFile writes a model of random bytes: loading does not look at them.
func loadBenchFile(b *testing.B, typ string) string {
	b.Helper()
	shape, err := synth.ParseShape("1.5b")
	if err != nil {
		b.Fatal(err)
	}
	t, err := convert.ParseFileType(typ)
	if err != nil {
		b.Fatal(err)
	}
	cut := *shape
	cut.Layers = 4
	m, err := synth.New(&cut, t, 1)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{1})
	var tensors []gguf.TensorData
	for _, t := range m.Tensors {
		data := make([]byte, t.Size)
		_, _ = rng.Read(data)
		tensors = append(tensors, gguf.TensorData{Name: t.Name, Type: t.Type, Dims: t.Dims, Data: data})
	}
	path := filepath.Join(b.TempDir(), fmt.Sprintf("%s.gguf", typ))
	w, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	meta := llamaMeta(map[string]any{
		"llama.block_count": uint32(cut.Layers), "llama.embedding_length": uint32(cut.Hidden), "llama.feed_forward_length": uint32(cut.FFN),
		"llama.attention.head_count": uint32(cut.Heads), "llama.attention.head_count_kv": uint32(cut.KVHeads), "llama.vocab_size": uint32(cut.Vocab),
	})
	if err := gguf.Write(w, meta, tensors); err != nil {
		b.Fatal(err)
	}
	return path
}
