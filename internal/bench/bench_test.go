// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
)

func TestParseTests(t *testing.T) {
	t.Parallel()
	got, err := ParseTests(DefaultTests + ", pp8@16")
	want := []Test{
		{Prompt: 512},
		{Prompt: 64},
		{Generate: 128},
		{Generate: 128, Depth: 4096},
		{Batch: 1},
		{Batch: 4},
		{Batch: 8},
		{Batch: 16},
		{Prompt: 8, Depth: 16},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	var names []string
	for _, test := range want[:8] {
		names = append(names, test.String())
	}
	if s := strings.Join(names, ","); s != DefaultTests {
		t.Errorf("names %s", s)
	}
	for _, bad := range []string{"", "pp", "pp0", "tg-1", "batch0", "batch300", "batch8@4", "pp999999", "tg1@131072", "pp512,", "qq1", "tg0@5"} {
		if got, err := ParseTests(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func TestSeries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s              Series
		median, spread float64
	}{
		{Series{5}, 5, 0},
		{Series{9, 1, 5}, 5, 1.6},
		{Series{4, 1, 3, 2}, 2.5, 1.2},
	} {
		before := slices.Clone(c.s)
		if m, s := c.s.Median(), c.s.Spread(); m != c.median || math.Abs(s-c.spread) > 1e-12 || !slices.Equal(c.s, before) {
			t.Errorf("%v: median %v, spread %v, want %v, %v", before, m, s, c.median, c.spread)
		}
	}
	if !math.IsNaN(Series(nil).Median()) {
		t.Error("nothing has a median")
	}
}

func testRunner(t *testing.T, spec testmodel.Spec) *Runner {
	t.Helper()
	f, err := gguf.Parse(testmodel.Bytes(spec))
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(t.Context(), f, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Each test leaves caches as long as what it ran, whatever ran before it, and computes the same work again.
func TestRun(t *testing.T) {
	t.Parallel()
	spec := testmodel.Default()
	spec.Layers, spec.Context = 2, 1024
	r := testRunner(t, spec)
	if err := r.Warm(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		test Test
		deep int // rows of the cache then
	}{
		{Test{Prompt: 40}, 40},
		{Test{Generate: 5, Depth: 600}, 605}, // more than one step of prefill
		{Test{Generate: 5, Depth: 600}, 605},
		{Test{Generate: 3}, 3},
		{Test{Prompt: 7, Depth: 20}, 27},
		{Test{Generate: 5, Depth: 600}, 605},
		{Test{Batch: 3}, 605},
		{Test{Batch: 1}, 605},
		{Test{Batch: 5}, 605},
	} {
		speed, err := r.Run(t.Context(), c.test)
		if err != nil || !(speed > 0) || math.IsInf(speed, 0) {
			t.Fatalf("%s: %v tokens/s, %v", c.test, speed, err)
		}
		if r.deep.Len() != c.deep {
			t.Errorf("%s: the cache has %d rows, want %d", c.test, r.deep.Len(), c.deep)
		}
		for i, cache := range r.batch[:min(c.test.Batch, len(r.batch))] {
			if cache.Len() != BatchPrompt+BatchGenerate {
				t.Errorf("%s: session %d has %d rows", c.test, i, cache.Len())
			}
		}
	}
	if _, err := r.Run(t.Context(), Test{Generate: 24, Depth: 1001}); !errors.Is(err, ErrContext) {
		t.Errorf("1025 positions of 1024: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []Test{{Generate: 5}, {Batch: 2}} {
		if _, err := r.Run(ctx, test); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: %v", test, err)
		}
	}
}

// A decoded token reads all tensors but an embedding of its own, of which it reads one row.
func TestStreamBytes(t *testing.T) {
	t.Parallel()
	spec := testmodel.Default()
	spec.Layers = 1
	tied := spec
	tied.TiedHead = true
	row := int64(spec.Hidden / 32 * 34)
	if got, want := testRunner(t, spec).StreamBytes(), testRunner(t, tied).StreamBytes()+row; got != want {
		t.Errorf("%d bytes, want %d: a tied model's and a row", got, want)
	}
}

// fakeBench stands for llama.cpp's programs: it checks its arguments and prints what they print.
const fakeBench = `#!/bin/sh
echo "$0 $@" >> "$(dirname "$0")/calls"
echo 'load_backend: loaded CPU backend'
case "$0 $*" in
*llama-batched-bench*) echo '{"n_kv_max": 192, "pp": 64, "tg": 32, "pl": 2, "speed_pp": 9.0, "speed_tg": 55.5, "speed": 8.0}';;
*"-p 16 -n 0 -d 0") echo '{"n_prompt": 16, "n_gen": 0, "n_depth": 0, "avg_ts": 123.25}';;
*"-p 0 -n 4 -d 32") echo '{"n_prompt": 0, "n_gen": 4, "n_depth": 0, "avg_ts": 1.0}'
	echo '{"n_prompt": 0, "n_gen": 4, "n_depth": 32, "avg_ts": 7.5}';;
*"-p 1 "*) echo 'error: no such model' >&2; exit 3;;
esac
`

func TestLlamaBench(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	dir := t.TempDir()
	for _, name := range []string{"llama-bench", "llama-batched-bench"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fakeBench), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, err := FindLlamaBench(filepath.Join(dir, "llama-bench"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		test Test
		want float64
	}{{Test{Prompt: 16}, 123.25}, {Test{Generate: 4, Depth: 32}, 7.5}, {Test{Batch: 2}, 55.5}} {
		if !l.Can(c.test) {
			t.Errorf("%s: cannot", c.test)
		}
		if got, err := l.Run(t.Context(), "m.gguf", 3, c.test); err != nil || got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.test, got, err, c.want)
		}
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%[1]s/llama-bench -m m.gguf -t 3 -ngl 0 -fa 1 -r 1 -o jsonl -p 16 -n 0 -d 0\n"+
		"%[1]s/llama-bench -m m.gguf -t 3 -ngl 0 -fa 1 -r 1 -o jsonl -p 0 -n 4 -d 32\n"+
		"%[1]s/llama-batched-bench -m m.gguf -t 3 -tb 3 -ngl 0 -fa on -c 192 -b 512 -ub 512 -npp 64 -ntg 32 -npl 2 --output-format jsonl\n", dir)
	if string(calls) != want {
		t.Errorf("called\n%swant\n%s", calls, want)
	}
	if _, err := l.Run(t.Context(), "m.gguf", 3, Test{Prompt: 1}); err == nil || !strings.Contains(err.Error(), "no such model") {
		t.Errorf("a benchmark that fails: %v", err)
	}
	if _, err := l.Run(t.Context(), "m.gguf", 3, Test{Prompt: 2}); err == nil || !strings.Contains(err.Error(), "no avg_ts") {
		t.Errorf("a benchmark that prints nothing: %v", err)
	}
	if _, err := FindLlamaBench(filepath.Join(dir, "nothing")); err == nil || !strings.Contains(err.Error(), "build llama.cpp") {
		t.Errorf("no benchmark: %v", err)
	}
	if (&LlamaBench{bench: "llama-bench"}).Can(Test{Batch: 2}) {
		t.Error("a batch test without llama-batched-bench")
	}
}
