// SPDX-License-Identifier: MIT

package layers_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// variant is a small random model of a family, and what its paper says of it: the naive forward pass goes by this, not by what the program
// made of the metadata.
type variant struct {
	name, arch                                            string
	layers                                                int
	meta                                                  map[string]any // without the architecture's prefix
	neox, qkvBias, headNorms, postNorms, fused, allBiases bool
	experts, used                                         int
	activate                                              func(g, u float64) float64
	local                                                 func(layer int) bool // nil: none
	window                                                int
	attnCap, logitCap, embedScale                         float64
	turn                                                  func(pair int, local bool) float64 // radians a position
	magnitude                                             float64
	factors                                               map[string][]float32
}

const varHidden, varFFN, varHeads, varKV, varDim, varVocab = 64, 96, 4, 2, 32, 48

func silu(g, u float64) float64 { return g / (1 + math.Exp(-g)) * u }

func gelu(g, u float64) float64 {
	return 0.5 * g * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(g+0.044715*g*g*g))) * u
}

func clamped(g, u float64) float64 {
	g, u = min(g, 7), max(-7, min(u, 7))
	return g / (1 + math.Exp(-1.702*g)) * (u + 1)
}

// plainTurn is the rotary frequency of a pair.
func plainTurn(base float64, pair int) float64 { return math.Pow(base, -2*float64(pair)/varDim) }

// yarnTurn follows the paper: pairs that turn more than 32 times in the original context stay, those below one are divided.
func yarnTurn(base, factor, context float64, pair int, whole bool) float64 {
	at := func(turns float64) float64 {
		return varDim * math.Log(context/(2*math.Pi*turns)) / (2 * math.Log(base))
	}
	low, high := at(32), at(1)
	if whole {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, varDim-1)
	slow := max(0, min(1, (float64(pair)-low)/(high-low)))
	return plainTurn(base, pair) * (slow/factor + 1 - slow)
}

func variants() []variant {
	short, long := make([]float32, varDim/2), make([]float32, varDim/2)
	for i := range short {
		short[i], long[i] = 1+float32(i)/50, 1+float32(i)/3
	}
	return []variant{
		{
			name: "llama-yarn", arch: "llama", layers: 4, activate: silu, magnitude: 0.1*math.Log(8) + 1,
			meta: map[string]any{"rope.scaling.type": "yarn", "rope.scaling.factor": float32(8), "rope.scaling.original_context_length": uint32(64)},
			turn: func(i int, _ bool) float64 { return yarnTurn(10000, 8, 64, i, true) },
		},
		{name: "qwen2", arch: "qwen2", layers: 4, neox: true, qkvBias: true, activate: silu},
		{name: "qwen3", arch: "qwen3", layers: 4, neox: true, headNorms: true, activate: silu},
		{
			name: "qwen3moe", arch: "qwen3moe", layers: 4, neox: true, headNorms: true, activate: silu, experts: 6, used: 3,
			meta: map[string]any{"expert_count": uint32(6), "expert_used_count": uint32(3), "expert_feed_forward_length": uint32(varFFN), "feed_forward_length": uint32(999)},
		},
		{
			name: "gemma2", arch: "gemma2", layers: 4, neox: true, postNorms: true, activate: gelu, attnCap: 5, logitCap: 3, embedScale: 8,
			window: 4, local: func(i int) bool { return i%2 == 0 },
			meta: map[string]any{"attention.sliding_window": uint32(4), "attn_logit_softcapping": float32(5), "final_logit_softcapping": float32(3)},
		},
		{
			name: "gemma3", arch: "gemma3", layers: 7, neox: true, postNorms: true, headNorms: true, activate: gelu, embedScale: 8,
			window: 4, local: func(i int) bool { return i != 5 },
			meta: map[string]any{"attention.sliding_window": uint32(4), "rope.freq_base": float32(1e6), "rope.scaling.type": "linear", "rope.scaling.factor": float32(8)},
			turn: func(i int, local bool) float64 {
				if local {
					return plainTurn(10000, i)
				}
				return plainTurn(1e6, i) / 8
			},
		},
		{
			name: "phi3", arch: "phi3", layers: 4, neox: true, fused: true, activate: silu, window: 5, local: func(int) bool { return true },
			meta: map[string]any{"attention.sliding_window": uint32(5)},
		},
		{
			name: "phi3-longrope", arch: "phi3", layers: 4, neox: true, fused: true, activate: silu, magnitude: 1.25,
			meta:    map[string]any{"rope.scaling.original_context_length": uint32(16), "rope.scaling.attn_factor": float32(1.25)},
			factors: map[string][]float32{"rope_factors_short.weight": short, "rope_factors_long.weight": long},
			turn:    func(i int, _ bool) float64 { return plainTurn(10000, i) / float64(long[i]) },
		},
	}
}

// parts are the tensors of a layer, and their shapes.
func (v *variant) parts() (names []string, dims map[string][]uint64) {
	dims = map[string][]uint64{}
	add := func(name string, d ...uint64) { names = append(names, name); dims[name] = d }
	const heads, kv = varHeads * varDim, varKV * varDim
	add("attn_norm.weight", varHidden)
	if v.fused {
		add("attn_qkv.weight", varHidden, heads+2*kv)
	} else {
		add("attn_q.weight", varHidden, heads)
		add("attn_k.weight", varHidden, kv)
		add("attn_v.weight", varHidden, kv)
	}
	if v.qkvBias {
		add("attn_q.bias", heads)
		add("attn_k.bias", kv)
		add("attn_v.bias", kv)
	}
	if v.headNorms {
		add("attn_q_norm.weight", varDim)
		add("attn_k_norm.weight", varDim)
	}
	add("attn_output.weight", heads, varHidden)
	ffnNorm := "ffn_norm.weight"
	if v.allBiases {
		add("attn_output.bias", varHidden)
		add("attn_sinks.weight", varHeads)
		ffnNorm = "post_attention_norm.weight"
	}
	add(ffnNorm, varHidden)
	if v.postNorms {
		add("post_attention_norm.weight", varHidden)
		add("post_ffw_norm.weight", varHidden)
	}
	e := uint64(v.experts)
	switch {
	case v.experts > 0:
		add("ffn_gate_inp.weight", varHidden, e)
		add("ffn_gate_exps.weight", varHidden, varFFN, e)
		add("ffn_up_exps.weight", varHidden, varFFN, e)
		add("ffn_down_exps.weight", varFFN, varHidden, e)
		if v.allBiases {
			add("ffn_gate_inp.bias", e)
			add("ffn_gate_exps.bias", varFFN, e)
			add("ffn_up_exps.bias", varFFN, e)
			add("ffn_down_exps.bias", varHidden, e)
		}
	case v.fused:
		add("ffn_up.weight", varHidden, 2*varFFN)
		add("ffn_down.weight", varFFN, varHidden)
	default:
		add("ffn_gate.weight", varHidden, varFFN)
		add("ffn_up.weight", varHidden, varFFN)
		add("ffn_down.weight", varFFN, varHidden)
	}
	return names, dims
}

func (v *variant) file(t testing.TB, typ quant.Type) *gguf.File {
	t.Helper()
	f, err := gguf.Parse(v.bytes(t, typ))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// bytes writes the model, its matrices as typ.
func (v *variant) bytes(t testing.TB, typ quant.Type) []byte {
	t.Helper()
	meta := new(gguf.Metadata)
	meta.Set("general.architecture", v.arch)
	for key, n := range map[string]int{
		"block_count": v.layers, "embedding_length": varHidden, "feed_forward_length": varFFN, "vocab_size": varVocab, "context_length": 128,
		"attention.head_count": varHeads, "attention.head_count_kv": varKV, "attention.key_length": varDim, "attention.value_length": varDim,
	} {
		meta.Set(v.arch+"."+key, uint32(n))
	}
	meta.Set(v.arch+".attention.layer_norm_rms_epsilon", float32(1e-6))
	for key, value := range v.meta {
		meta.Set(v.arch+"."+key, value)
	}
	random := rand.New(rand.NewPCG(9, 9))
	tensors := []gguf.TensorData{
		randomTensor(random, "token_embd.weight", typ, 0, 1, varHidden, varVocab),
		randomTensor(random, "output_norm.weight", quant.F32, 1, 0.1, varHidden),
		randomTensor(random, "output.weight", typ, 0, 0.12, varHidden, varVocab),
	}
	for name, f := range v.factors {
		tensors = append(tensors, gguf.TensorData{Name: name, Type: quant.F32, Dims: []uint64{uint64(len(f))}, Data: encode(quant.F32, f)})
	}
	names, dims := v.parts()
	for i := range v.layers {
		for _, name := range names {
			mean, scale, as := float32(0), float32(0.15), typ
			if len(dims[name]) == 1 || bytes.HasSuffix([]byte(name), []byte(".bias")) || name == "ffn_gate_inp.weight" {
				as, scale = quant.F32, 0.5
			}
			if bytes.Contains([]byte(name), []byte("norm")) {
				mean, scale = 1, 0.1
			}
			tensors = append(tensors, randomTensor(random, fmt.Sprintf("blk.%d.%s", i, name), as, mean, scale, dims[name]...))
		}
	}
	var file bytes.Buffer
	if err := gguf.Write(&file, meta, tensors); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// TestVariants checks each family.
func TestVariants(t *testing.T) {
	t.Parallel()
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			v.check(t)
		})
	}
}

// check compares the family with the naive forward pass, and holds its splits, batches and steps to the same bits.
func (v *variant) check(t *testing.T) {
	tokens := []protocol.TokenID{3, 41, 7, 7, 0, 22, 13, 47, 5, 30, 11, 2}
	f := v.file(t, quant.F16)
	want := v.naive(t, f, tokens)
	m := load(t, f, layers.Options{F32: true})
	in := layers.Input{Tokens: tokens}
	for i := range tokens {
		in.Logits = append(in.Logits, uint32(i))
	}
	var out layers.Output
	if err := m.Forward(m.NewCache(16), in, &out); err != nil {
		t.Fatal(err)
	}
	for i, got := range out.Logits {
		if d := math.Abs(float64(got) - want[i]); !(d <= 1e-4*(1+math.Abs(want[i]))) {
			t.Fatalf("row %d, logit %d is %v, want %v", i/varVocab, i%varVocab, got, want[i])
		}
	}
	checkSplits(t, f, tokens, layers.Options{F32: true})
	quantised := v.file(t, quant.Q8_0)
	checkSplits(t, quantised, tokens, layers.Options{})
	checkBatch(t, quantised, tokens)
	checkEnds(t, quantised, tokens)
}

// checkBatch: sessions in one step get the bits that each gets alone.
func checkBatch(t *testing.T, f *gguf.File, tokens []protocol.TokenID) {
	t.Helper()
	m := loadRange(t, f, protocol.LayerRange{To: parse(t, f).NLayers}, layers.Options{Threads: 2})
	var steps []layers.Step
	var want [3][]float32
	for i := range want {
		in := layers.Input{Tokens: tokens[i : i+3+2*i], Logits: []uint32{uint32(2 + 2*i)}}
		var alone layers.Output
		if err := m.Forward(m.NewCache(32), in, &alone); err != nil {
			t.Fatal(err)
		}
		want[i] = alone.Logits
		steps = append(steps, layers.Step{Cache: m.NewCache(32), Input: in, Output: new(layers.Output)})
	}
	if err := m.ForwardBatch(steps); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if err := sameBits(steps[i].Output.Logits, want[i]); err != nil {
			t.Errorf("session %d of a batch: %v", i, err)
		}
	}
}

// naive returns the logits of all rows, in float64 and with no cache.
func (v *variant) naive(t *testing.T, f *gguf.File, tokens []protocol.TokenID) (logits []float64) {
	n := &naive{f: f, cfg: &layers.Config{NormEps: 1e-6}}
	embedding := n.weights(t, "token_embd.weight")
	rows := make([][]float64, len(tokens))
	for i, id := range tokens {
		rows[i] = slices.Clone(embedding[int(id)*varHidden:][:varHidden])
		for d := range rows[i] {
			rows[i][d] *= max(v.embedScale, 1)
		}
	}
	for l := range v.layers {
		w := map[string][]float64{}
		names, _ := v.parts()
		for _, name := range names {
			w[name] = n.weights(t, fmt.Sprintf("blk.%d.%s", l, name))
		}
		var keys, values [][]float64
		for i, x := range rows {
			q, k, val := v.project(w, n.normalise(x, w["attn_norm.weight"]))
			local := v.local != nil && v.local(l)
			for _, heads := range []struct {
				x    []float64
				norm string
			}{{q, "attn_q_norm.weight"}, {k, "attn_k_norm.weight"}} {
				for at := 0; at < len(heads.x); at += varDim {
					head := heads.x[at : at+varDim]
					if v.headNorms {
						copy(head, n.normalise(head, w[heads.norm]))
					}
					v.rotate(head, i, local)
				}
			}
			keys, values = append(keys, k), append(values, val)
			from := 0
			if local {
				from = max(0, i+1-v.window)
			}
			out := multiply(w["attn_output.weight"], v.attend(q, keys[from:], values[from:], w["attn_sinks.weight"]))
			v.join(n, x, out, w["attn_output.bias"], w["post_attention_norm.weight"])
			norm := w["ffn_norm.weight"]
			if v.allBiases {
				norm = w["post_attention_norm.weight"]
			}
			v.join(n, x, v.feed(w, n.normalise(x, norm)), nil, w["post_ffw_norm.weight"])
		}
	}
	head, norm := n.weights(t, "output.weight"), n.weights(t, "output_norm.weight")
	for _, x := range rows {
		for _, y := range multiply(head, n.normalise(x, norm)) {
			if v.logitCap != 0 {
				y = v.logitCap * math.Tanh(y/v.logitCap)
			}
			logits = append(logits, y)
		}
	}
	return logits
}

// join adds a branch to x.
func (v *variant) join(n *naive, x, out, bias, norm []float64) {
	for d := range bias {
		out[d] += bias[d]
	}
	if v.postNorms {
		out = n.normalise(out, norm)
	}
	for d, o := range out {
		x[d] += o
	}
}

func (v *variant) project(w map[string][]float64, h []float64) (q, k, val []float64) {
	const heads, kv = varHeads * varDim, varKV * varDim
	if v.fused {
		all := multiply(w["attn_qkv.weight"], h)
		return all[:heads], all[heads : heads+kv], all[heads+kv:]
	}
	q, k, val = multiply(w["attn_q.weight"], h), multiply(w["attn_k.weight"], h), multiply(w["attn_v.weight"], h)
	for name, x := range map[string][]float64{"attn_q.bias": q, "attn_k.bias": k, "attn_v.bias": val} {
		for i, b := range w[name] {
			x[i] += b
		}
	}
	return q, k, val
}

func (v *variant) rotate(head []float64, position int, local bool) {
	for i := range varDim / 2 {
		turn := plainTurn(10000, i)
		if v.turn != nil {
			turn = v.turn(i, local)
		}
		a, b := 2*i, 2*i+1
		if v.neox {
			a, b = i, i+varDim/2
		}
		m := v.magnitude
		if m == 0 {
			m = 1
		}
		sin, cos := math.Sincos(float64(position) * turn)
		head[a], head[b] = m*(head[a]*cos-head[b]*sin), m*(head[a]*sin+head[b]*cos)
	}
}

func (v *variant) attend(q []float64, keys, values [][]float64, sinks []float64) []float64 {
	out := make([]float64, len(q))
	for h := range varHeads {
		kv := h / (varHeads / varKV) * varDim
		var sum float64
		if sinks != nil {
			sum = math.Exp(sinks[h])
		}
		for j := range keys {
			var score float64
			for d := range varDim {
				score += q[h*varDim+d] * keys[j][kv+d]
			}
			score /= math.Sqrt(varDim)
			if v.attnCap != 0 {
				score = v.attnCap * math.Tanh(score/v.attnCap)
			}
			e := math.Exp(score)
			sum += e
			for d := range varDim {
				out[h*varDim+d] += e * values[j][kv+d]
			}
		}
		for d := range varDim {
			out[h*varDim+d] /= sum
		}
	}
	return out
}

func (v *variant) feed(w map[string][]float64, h []float64) []float64 {
	network := func(gate, up, down, gateBias, upBias []float64) []float64 {
		g, u := multiply(gate, h), multiply(up, h)
		for i := range g {
			if gateBias != nil {
				g[i], u[i] = g[i]+gateBias[i], u[i]+upBias[i]
			}
			g[i] = v.activate(g[i], u[i])
		}
		return multiply(down, g)
	}
	if v.fused {
		both := w["ffn_up.weight"]
		return network(both[:varHidden*varFFN], both[varHidden*varFFN:], w["ffn_down.weight"], nil, nil)
	}
	if v.experts == 0 {
		return network(w["ffn_gate.weight"], w["ffn_up.weight"], w["ffn_down.weight"], nil, nil)
	}
	logits := multiply(w["ffn_gate_inp.weight"], h)
	for i, b := range w["ffn_gate_inp.bias"] {
		logits[i] += b
	}
	order := make([]int, v.experts)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if logits[a] > logits[b] {
			return -1
		}
		return 1
	})
	var sum float64
	out := make([]float64, varHidden)
	for _, e := range order[:v.used] {
		sum += math.Exp(logits[e])
	}
	of := func(name string, e, size int) []float64 {
		if w[name] == nil {
			return nil
		}
		return w[name][e*size : (e+1)*size]
	}
	for _, e := range order[:v.used] {
		const size = varHidden * varFFN
		y := network(of("ffn_gate_exps.weight", e, size), of("ffn_up_exps.weight", e, size), of("ffn_down_exps.weight", e, size),
			of("ffn_gate_exps.bias", e, varFFN), of("ffn_up_exps.bias", e, varFFN))
		for d, b := range of("ffn_down_exps.bias", e, varHidden) {
			y[d] += b
		}
		for d := range y {
			out[d] += math.Exp(logits[e]) / sum * y[d]
		}
	}
	return out
}
