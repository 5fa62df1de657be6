// SPDX-License-Identifier: MIT

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/internal/testmodel"
)

// TestResidentMemory compares what the system says a node has in memory with what the node says it holds: first, middle and last nodes and
// one with all layers, of a model with a head of its own and of one without, while it generates behind a prompt of 2000 tokens and
// afterwards. Embedding and head have 64 MiB each: a copy of either that is not in the plan shows.
func TestResidentMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("makes models of 200 MB")
	}
	for _, tied := range []bool{false, true} {
		t.Run(fmt.Sprintf("tied=%v", tied), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "wide.gguf")
			writeModel(t, path, tied)
			for _, ranges := range [][]string{{"0-0", "1-1", "2-2"}, {"0-2"}} {
				t.Run(strings.Join(ranges, ","), func(t *testing.T) { residentSwarm(t, path, ranges) })
			}
		})
	}
}

func writeModel(t *testing.T, path string, tied bool) {
	t.Helper()
	spec := testmodel.Default()
	spec.Layers, spec.Hidden, spec.FFN, spec.Heads, spec.KVHeads, spec.Context = 3, 256, 1024, 4, 4, 4096
	spec.Vocab, spec.Embed, spec.Head, spec.TiedHead = 1<<17, quant.F16, quant.F16, tied
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := testmodel.Write(f, spec); err != nil {
		t.Fatal(err)
	}
}

// swarmProcess is a node or a coordinator.
type swarmProcess struct {
	cmd *exec.Cmd
	dir string // data directory
	log bytes.Buffer
}

// residentSwarm starts a node for each range, asks them something and looks at their memory.
func residentSwarm(t *testing.T, model string, ranges []string) {
	// A unix socket's path is short: not below the test's directory.
	state, err := os.MkdirTemp("", "sn") //nolint:usetesting // its directories have long names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	swarm := "e2e-" + filepath.Base(state)
	env := append(os.Environ(), "XDG_STATE_HOME="+state, "SHARDNODE_SWARM="+swarm, "COORDINATOR_SWARM="+swarm)
	start := func(out io.Writer, program string, args ...string) *swarmProcess {
		p := &swarmProcess{cmd: exec.Command(filepath.Join(programs, program), args...)}
		p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, out, &p.log
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	var nodes []*swarmProcess
	for _, r := range ranges {
		dir := filepath.Join(state, r)
		p := start(nil, "shardnode", "--layers", r, "--model", model, "--data-dir", dir, "--threads", "1", "--max-rows", "64", "--max-sessions", "2")
		p.dir = dir
		nodes = append(nodes, p)
		t.Cleanup(func() {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			if err := p.cmd.Wait(); err != nil || t.Failed() {
				t.Errorf("node %s: %v\n%s", r, err, p.log.Bytes())
			}
		})
	}
	for i, p := range nodes {
		waitFor(t, "node "+ranges[i]+" is ready", func() bool { return p.health(t).Ready })
	}

	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	prompt := strings.Repeat("0123456789", 200) // a token a character
	asking := start(in, "coordinator", "infer", "--raw", "--wait", "30s", "--max-tokens", "200", "--temperature", "1", "--seed", "7", prompt)
	in.Close()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		_ = asking.cmd.Wait()
		t.Fatalf("the coordinator said nothing: %v\n%s", err, asking.log.Bytes())
	}
	for i, p := range nodes {
		if h := p.checkMemory(t, ranges[i]+" while generating"); h.Memory.KVUsed < 2000*1024 {
			t.Errorf("layers %s: %d bytes of KV cache in use behind 2000 tokens", ranges[i], h.Memory.KVUsed)
		}
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := asking.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, asking.log.Bytes())
	}
	for i, p := range nodes {
		waitFor(t, "node "+ranges[i]+" has freed the session", func() bool { return p.health(t).Memory.KVUsed == 0 })
		p.checkMemory(t, ranges[i]+" afterwards")
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// nodeHealth is what we read of shardnode health --json.
type nodeHealth struct {
	Ready  bool `json:"ready"`
	Memory struct {
		Weights     int64 `json:"weights_bytes"`
		KVUsed      int64 `json:"kv_used_bytes"`
		KVCached    int64 `json:"kv_cached_bytes"`
		ReplayUsed  int64 `json:"replay_used_bytes"`
		Activations int64 `json:"activation_bytes"`
		Buffers     int64 `json:"buffer_bytes"`
		Program     int64 `json:"program_bytes"`
	} `json:"memory"`
}

// health asks a node; one that does not answer is not ready.
func (p *swarmProcess) health(t *testing.T) (h nodeHealth) {
	t.Helper()
	out, _ := exec.Command(filepath.Join(programs, "shardnode"), "health", "--json", "--data-dir", p.dir).Output()
	if len(out) > 0 {
		if err := json.Unmarshal(out, &h); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// checkMemory compares a node's memory with its word.
func (p *swarmProcess) checkMemory(t *testing.T, what string) nodeHealth {
	t.Helper()
	h := p.health(t)
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "\nVmRSS:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	rss, m := kib<<10, h.Memory
	limit := m.Weights + m.KVUsed + m.KVCached + m.ReplayUsed + m.Activations + m.Buffers + m.Program
	const mib = 1 << 20
	t.Logf("layers %s: %d MiB resident, %d MiB planned: weights %d, KV caches in use %d, known prompts %d, activations %d, frames %d, program %d",
		what, rss/mib, limit/mib, m.Weights/mib, m.KVUsed/mib, (m.KVCached+m.ReplayUsed)/mib, m.Activations/mib, m.Buffers/mib, m.Program/mib)
	if rss > limit {
		t.Errorf("layers %s: %d bytes resident, %d planned", what, rss, limit)
	}
	if m.Program != 64*mib {
		t.Errorf("layers %s: %d bytes for the program, want 64 MiB", what, m.Program)
	}
	return h
}
