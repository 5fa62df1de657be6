// SPDX-License-Identifier: MIT

package layers_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// naive is a second forward pass, as plain as can be: float64, no cache, one loop a formula. The reference data has no model with
// partly rotated heads, linear scaling, or heads of another width than hidden/heads.
type naive struct {
	f       *gguf.File
	cfg     *layers.Config
	factors []float64
}

func (n *naive) weights(t *testing.T, name string) []float64 {
	t.Helper()
	tensor, ok := n.f.Tensor(name)
	if !ok {
		t.Fatalf("no tensor %s", name)
	}
	values := make([]float32, tensor.Elements())
	if err := quant.Dequantize(tensor.Type, values, n.f.Data(tensor)); err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

func multiply(w, x []float64) []float64 {
	y := make([]float64, len(w)/len(x))
	for r := range y {
		for i, v := range x {
			y[r] += w[r*len(x)+i] * v
		}
	}
	return y
}

func (n *naive) normalise(x, w []float64) []float64 {
	var sum float64
	for _, v := range x {
		sum += v * v
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / math.Sqrt(sum/float64(len(x))+float64(n.cfg.NormEps)) * w[i]
	}
	return y
}

func (n *naive) rotate(heads []float64, position int) {
	c := n.cfg
	for at := 0; at < len(heads); at += c.HeadDim {
		for i := range c.RopeDim / 2 {
			angle := float64(position) * math.Pow(c.RopeBase, -2*float64(i)/float64(c.RopeDim)) / c.RopeScale
			if n.factors != nil {
				angle /= n.factors[i]
			}
			a, b := heads[at+2*i], heads[at+2*i+1]
			heads[at+2*i], heads[at+2*i+1] = a*math.Cos(angle)-b*math.Sin(angle), a*math.Sin(angle)+b*math.Cos(angle)
		}
	}
}

// attend gives one position's output: every position up to it as much as its key fits.
func (n *naive) attend(q []float64, keys, values [][]float64) []float64 {
	c := n.cfg
	out := make([]float64, len(q))
	for h := range c.Heads {
		kv := h / (c.Heads / c.KVHeads) * c.HeadDim
		var sum float64
		for j := range keys {
			var score float64
			for d := range c.HeadDim {
				score += q[h*c.HeadDim+d] * keys[j][kv+d]
			}
			e := math.Exp(score / math.Sqrt(float64(c.HeadDim)))
			sum += e
			for d := range c.HeadDim {
				out[h*c.HeadDim+d] += e * values[j][kv+d]
			}
		}
		for d := range c.HeadDim {
			out[h*c.HeadDim+d] /= sum
		}
	}
	return out
}

// logits of the last of tokens.
func (n *naive) logits(t *testing.T, tokens []protocol.TokenID) []float64 {
	c := n.cfg
	embedding := n.weights(t, "token_embd.weight")
	rows := make([][]float64, len(tokens))
	for i, id := range tokens {
		rows[i] = slices.Clone(embedding[int(id)*c.Hidden:][:c.Hidden])
	}
	for l := range c.NLayers {
		w := func(s string) []float64 { return n.weights(t, fmt.Sprintf("blk.%d.%s.weight", l, s)) }
		wq, wk, wv, wo, gate, up, down := w("attn_q"), w("attn_k"), w("attn_v"), w("attn_output"), w("ffn_gate"), w("ffn_up"), w("ffn_down")
		attnNorm, ffnNorm := w("attn_norm"), w("ffn_norm")
		var keys, values [][]float64
		for i, x := range rows {
			h := n.normalise(x, attnNorm)
			q, k, v := multiply(wq, h), multiply(wk, h), multiply(wv, h)
			n.rotate(q, i)
			n.rotate(k, i)
			keys, values = append(keys, k), append(values, v)
			for d, o := range multiply(wo, n.attend(q, keys, values)) {
				x[d] += o
			}
			h = n.normalise(x, ffnNorm)
			g, u := multiply(gate, h), multiply(up, h)
			for d := range g {
				g[d] *= u[d] / (1 + math.Exp(-g[d]))
			}
			for d, o := range multiply(down, g) {
				x[d] += o
			}
		}
	}
	return multiply(n.weights(t, "output.weight"), n.normalise(rows[len(rows)-1], n.weights(t, "output_norm.weight")))
}

func TestAgainstNaive(t *testing.T) {
	t.Parallel()
	factors := make([]float32, tinyDim/2)
	for i := range factors {
		factors[i] = 1 + float32(i)/3
	}
	for _, c := range []struct {
		name    string
		meta    map[string]any
		factors []float32
	}{
		{"plain", nil, nil},
		{"linear scaling", map[string]any{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(4)}, nil},
		{"partly rotated", map[string]any{"llama.rope.dimension_count": uint32(12), "llama.rope.freq_base": float32(500)}, nil},
		{"factors", nil, factors},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := tiny{layers: 2, meta: func(m *gguf.Metadata) {
				for k, v := range c.meta {
					m.Set(k, v)
				}
			}}
			if c.factors != nil {
				d.extra = []gguf.TensorData{{Name: "rope_freqs.weight", Type: quant.F32, Dims: []uint64{tinyDim / 2}, Data: encode(quant.F32, c.factors)}}
			}
			f := d.file(t)
			n := &naive{f: f, cfg: parse(t, f)}
			for _, v := range c.factors {
				n.factors = append(n.factors, float64(v))
			}
			tokens := tinyTokens(0)[:11]
			want := n.logits(t, tokens)
			m := load(t, f, layers.Options{F32: true})
			for i, got := range lastLogits(t, m, m.NewCache(16), tokens) {
				if d := math.Abs(float64(got) - want[i]); !(d <= 1e-4*(1+math.Abs(want[i]))) {
					t.Fatalf("logit %d is %v, want %v", i, got, want[i])
				}
			}
		})
	}
}
