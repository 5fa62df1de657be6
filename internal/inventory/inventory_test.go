// SPDX-License-Identifier: MIT

package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/pkg/placement/solver"
)

const examples = "../../deploy/inventories"

// TestExamples: every example can be read and has a plan.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(examples + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range files {
		inv, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := solver.Solve(t.Context(), &inv.Instance, solver.Options{}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

const good = `model: {demo: true}
devices:
  - {name: a, memory: 1GiB, decode: 10GB/s, prefill: 100GFLOP/s}
  - {name: b, at: far, memory: 1GiB, decode: 80Gbit/s, prefill: 1TFLOP/s, pin: 8-15}
links:
  - {between: [far, "*"], rtt: 20ms, loss: 1%}
  - {from: b, to: a, bandwidth: 8Mbit/s}
`

// TestParse looks at values: units, both ways, later entries over earlier ones.
func TestParse(t *testing.T) {
	t.Parallel()
	inv, err := Parse("x.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	in := &inv.Instance
	if len(in.Model.Layers) != 32 || in.Devices[1].Decode != 1e10 || in.Devices[1].Pinned.String() != "8-15" {
		t.Errorf("got %d layers, devices %+v", len(in.Model.Layers), in.Devices)
	}
	ab, ba := in.Links[0][1], in.Links[1][0]
	if ab.Latency.Milliseconds() != 10 || ba.Latency != ab.Latency || ab.Loss != 0.01 || ab.Bandwidth != usualBandwidth || ba.Bandwidth != 1e6 {
		t.Errorf("links %+v and %+v", ab, ba)
	}
}

// TestProblems: each has its line, all are told at once.
func TestProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ old, new, want string }{
		{"memory: 1GiB, decode: 10GB/s", "memory: lots, decode: 10", `x.yaml:3: "lots" is not a size`},
		{"memory: 1GiB, decode: 10GB/s", "memory: lots, decode: 10", `x.yaml:3: "10": write for example 40GB/s`},
		{"name: b", "name: a", `x.yaml:4: the name "a" is taken`},
		{"name: b", "nam: b", `x.yaml:4: a device has no "nam"`},
		{"pin: 8-15", "pin: 8-99", `x.yaml:4: b: layers 8-99 of 0-31`},
		{"loss: 1%", "loss: 95%", `x.yaml:6: "95%": want a number from 0 to 0.9`},
		{"from: b", "from: c", `x.yaml:7: there is no device and no place "c"`},
		{"links:", "objective: fastest\nlinks:", `x.yaml:5: objective "fastest"`},
		{"{demo: true}", "{gguf: none.gguf}", `x.yaml:1: the model: `},
		{"model: {demo: true}\n", "", `x.yaml:1: an inventory: model is missing`},
		{"demo: true", "demo: true}\nload: {prompt: 9, output: 9, context: 9", `x.yaml:2: a context of 9 has no room`},
	} {
		_, err := Parse("x.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.new, err, c.want)
		}
	}
}

// TestWrite: what is written is read again as it was.
func TestWrite(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(examples + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{good, good + "forbid: [[a, coordinator]]\nmax_devices: 2\nreplicas: 2\n", strings.Replace(good, "loss: 1%", "none: true", 1)}
	texts = append(texts, strings.Replace(good, "{demo: true}", "{name: 'a\"b', layers: 2, layer: [{bytes: 3MiB, kv: 8}, {bytes: 4MiB}], hidden: 1KiB}", 1))
	texts[3] = strings.Replace(texts[3], "8-15", "0-0", 1)
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(raw))
	}
	for _, text := range texts {
		inv, err := Parse("x.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := Write(&b, inv, "two", "lines"); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("y.yaml", []byte(b.String()))
		if err != nil {
			t.Fatalf("%v of\n%s", err, b.String())
		}
		if inv.Instance.Model.Head.FLOPs == 0 {
			inv.Instance.Model.Head.FLOPs = 1 // none cannot be written
		}
		again.Instance.Patent = inv.Instance.Patent // not written: the usual one
		for i := range inv.Instance.Links {
			again.Instance.Links[i][i] = inv.Instance.Links[i][i]
			for j := range inv.Instance.Links[i] {
				if inv.Instance.Links[i][j].None { // nothing else is written of it
					again.Instance.Links[i][j] = inv.Instance.Links[i][j]
				}
			}
		}
		if diff := cmp.Diff(inv, again); diff != "" {
			t.Errorf("%s", diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	for _, name := range []string{"home.yaml", "community.yaml"} {
		raw, err := os.ReadFile(filepath.Join(examples, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if strings.Contains(string(raw), "gguf") {
			t.Skip("it would read files")
		}
		inv, err := Parse("x.yaml", raw)
		if err == nil && (len(inv.Instance.Devices) == 0 || len(inv.Instance.Links) != len(inv.Instance.Devices)+1) {
			t.Fatalf("no devices or no links: %+v", inv)
		}
	})
}
