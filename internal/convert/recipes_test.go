// SPDX-License-Identifier: MIT

package convert_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/internal/convert"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
)

var llamaQuantize = flag.String("llama-quantize", "", "ask this program of llama.cpp again for testdata/recipes.txt")

// recipeModels are shapes that the choice of types tells apart. Their matrices have two rows.
var recipeModels = []struct {
	name, arch                 string
	layers, heads, kv, experts int
	row                        uint64
	tied, fused                bool
}{
	{name: "grouped", arch: "llama", layers: 32, heads: 8, kv: 2, row: 256},
	{name: "tied", arch: "qwen2", layers: 18, heads: 4, kv: 2, row: 256, tied: true},
	{name: "eight experts", arch: "llama", layers: 32, heads: 8, kv: 2, experts: 8, row: 256},
	{name: "four experts", arch: "qwen3moe", layers: 6, heads: 4, kv: 4, experts: 4, row: 256},
	{name: "fused", arch: "phi3", layers: 16, heads: 4, kv: 4, row: 256, fused: true},
	{name: "large", arch: "llama", layers: 80, heads: 8, kv: 1, row: 256},
	{name: "narrow", arch: "llama", layers: 16, heads: 4, kv: 1, row: 96},
}

// TestRecipes holds the type of each tensor of each kind of file to what llama-quantize says it would do (b10587, --dry-run).
func TestRecipes(t *testing.T) {
	t.Parallel()
	var ours, theirs strings.Builder
	for _, m := range recipeModels {
		meta := &gguf.Metadata{}
		meta.Set("general.architecture", m.arch)
		for key, n := range map[string]int{
			"block_count": m.layers, "context_length": 64, "embedding_length": int(m.row), "feed_forward_length": int(m.row), "vocab_size": 2,
			"attention.head_count": m.heads, "attention.head_count_kv": m.kv, "expert_count": m.experts, "expert_used_count": min(m.experts, 2),
			"rope.dimension_count": int(m.row) / m.heads, "expert_feed_forward_length": int(m.row),
		} {
			if n > 0 {
				meta.Set(m.arch+"."+key, uint32(n))
			}
		}
		meta.Set(m.arch+".attention.layer_norm_rms_epsilon", float32(1e-5))
		var tensors []gguf.TensorData
		add := func(name string, dims ...uint64) {
			n := uint64(2)
			for _, d := range dims {
				n *= d
			}
			tensors = append(tensors, gguf.TensorData{Name: name + ".weight", Type: quant.F16, Dims: dims, Data: make([]byte, n)})
		}
		add("token_embd", m.row, 2)
		if !m.tied {
			add("output", m.row, 2)
		}
		for i := range m.layers {
			kinds := []string{"attn_q", "attn_k", "attn_v"}
			if m.fused {
				kinds = []string{"attn_qkv"}
			}
			for _, kind := range append(kinds, "attn_output") {
				add(fmt.Sprintf("blk.%d.%s", i, kind), m.row, 2)
			}
			for _, kind := range []string{"ffn_gate", "ffn_up", "ffn_down"} {
				if m.experts > 0 {
					add(fmt.Sprintf("blk.%d.%s_exps", i, kind), m.row, 2, uint64(m.experts))
				} else {
					add(fmt.Sprintf("blk.%d.%s", i, kind), m.row, 2)
				}
			}
		}
		var b bytes.Buffer
		if err := gguf.Write(&b, meta, tensors); err != nil {
			t.Fatal(err)
		}
		file, err := gguf.Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i := range convert.FileTypes {
			ft := &convert.FileTypes[i]
			plan, err := convert.NewPlan(file, ft)
			if err != nil {
				t.Fatal(err)
			}
			kinds := newRuns()
			for _, r := range plan.Tensors {
				kinds.add(r.Name, r.To.String())
			}
			fmt.Fprintf(&ours, "%s, %s\n%s", m.name, ft.Name, kinds)
			if *llamaQuantize != "" {
				fmt.Fprintf(&theirs, "%s, %s\n%s", m.name, ft.Name, askLlamaQuantize(t, b.Bytes(), ft.Name))
			}
		}
	}
	path := filepath.Join("testdata", "recipes.txt")
	if *llamaQuantize != "" {
		if err := os.WriteFile(path, []byte(theirs.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), ours.String()); d != "" {
		t.Errorf("types (-llama-quantize +ours):\n%s", d)
	}
}

// runs are the types of matrices by kind, in order of layers: "attn_v 2×Q6_K 3×Q4_K".
type runs struct {
	order []string
	types map[string][]string
}

func newRuns() *runs { return &runs{types: map[string][]string{}} }

var tensorKind = regexp.MustCompile(`(?:^|\.)(\w+)\.weight$`)

func (r *runs) add(tensor, typ string) {
	kind := tensorKind.FindStringSubmatch(tensor)[1]
	if r.types[kind] == nil {
		r.order = append(r.order, kind)
	}
	r.types[kind] = append(r.types[kind], typ)
}

func (r *runs) String() string {
	var b strings.Builder
	for _, kind := range r.order {
		fmt.Fprintf(&b, "  %s", kind)
		types := r.types[kind]
		for len(types) > 0 {
			n := 1
			for n < len(types) && types[n] == types[0] {
				n++
			}
			fmt.Fprintf(&b, " %d×%s", n, types[0])
			types = types[n:]
		}
		b.WriteString("\n")
	}
	return b.String()
}

var dryRun = regexp.MustCompile(`(?m)^\[ *\d+/ *\d+\] (\S+) .*?type = +(\w+), size = +[\d.]+ MiB(?: -> +[\d.]+ MiB \((\w+)\))?$`)

func askLlamaQuantize(t *testing.T, file []byte, typ string) *runs {
	t.Helper()
	dir := t.TempDir()
	in := filepath.Join(dir, "in.gguf")
	if err := os.WriteFile(in, file, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), *llamaQuantize, "--dry-run", in, filepath.Join(dir, "out.gguf"), typ).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", typ, err, out)
	}
	found := map[string]string{}
	for _, line := range dryRun.FindAllStringSubmatch(string(out), -1) {
		if found[line[1]] = strings.ToUpper(line[2]); line[3] != "" {
			found[line[1]] = strings.ToUpper(line[3])
		}
	}
	parsed, err := gguf.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != len(parsed.Tensors) {
		t.Fatalf("%s: %d tensors in the answer, want %d:\n%s", typ, len(found), len(parsed.Tensors), out)
	}
	kinds := newRuns()
	for i := range parsed.Tensors {
		kinds.add(parsed.Tensors[i].Name, found[parsed.Tensors[i].Name])
	}
	return kinds
}
