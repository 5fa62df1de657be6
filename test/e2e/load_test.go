// SPDX-License-Identifier: MIT

//go:build unix

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestNoLossUnderLoad: on a machine whose every core computes, for several nodes at once, nobody is taken for lost and no request
// fails. `make soak` runs it for ten minutes (SHARDNODE_SOAK), the tests for seconds.
func TestNoLossUnderLoad(t *testing.T) {
	t.Parallel()
	duration := 8 * time.Second
	if s := os.Getenv("SHARDNODE_SOAK"); s != "" {
		var err error
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		t.Skip("seconds of full load")
	}
	state, err := os.MkdirTemp("", "sn") //nolint:usetesting // t.TempDir is too long for a socket path on some systems
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	swarm := "load-" + strings.ToLower(rand.Text()[:10])
	env := []string{
		"PATH=" + os.Getenv("PATH"), "XDG_STATE_HOME=" + state, "SHARDNODE_SWARM=" + swarm, "COORDINATOR_SWARM=" + swarm, "COORDINATOR_WAIT=30s",
		// Each node computes on all cores: four times as many threads as the machine has.
		fmt.Sprintf("SHARDNODE_THREADS=%d", runtime.NumCPU()), "SHARDNODE_LOG_LEVEL=debug",
	}
	command := func(ctx context.Context, name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(programs, name), args...)
		cmd.Env = env
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = patience
		return cmd
	}
	running, stop := context.WithCancel(context.Background())
	var nodes sync.WaitGroup
	logs := make([]bytes.Buffer, 4)
	t.Cleanup(func() {
		stop()
		nodes.Wait()
	})
	for i, layers := range []string{"0-7", "8-15", "16-23", "24-31"} {
		cmd := command(running, "shardnode", "--layers", layers, "--data-dir", filepath.Join(state, layers))
		cmd.Stderr = &logs[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		nodes.Go(func() { _ = cmd.Wait() })
	}

	deadline := time.Now().Add(duration)
	var users sync.WaitGroup
	var mu sync.Mutex // guards answers
	answers := 0
	for range 8 {
		users.Go(func() {
			for time.Now().Before(deadline) {
				out, err := command(t.Context(), "coordinator", "infer", "--max-tokens", "100", "--temperature", "2", "--raw", "the").CombinedOutput()
				if err != nil {
					t.Errorf("a request failed: %v\n%s", err, out)
					return
				}
				mu.Lock()
				answers++
				mu.Unlock()
			}
		})
	}
	users.Wait()
	stop()
	nodes.Wait()
	worst := regexp.MustCompile(`"worst": "([^"]+)"`)
	var slowest time.Duration
	watched := 0
	for i := range logs {
		text := logs[i].String()
		if strings.Contains(text, "peer lost") || t.Failed() {
			t.Errorf("node %d:\n%s", i, text)
		}
		for _, m := range worst.FindAllStringSubmatch(text, -1) {
			d, err := time.ParseDuration(m[1])
			if err != nil {
				t.Fatal(err)
			}
			slowest = max(slowest, d)
			watched++
		}
	}
	t.Logf("%d answers in %v; %d peers were watched, the slowest answer to a beat took %v", answers, duration, watched, slowest)
	if answers == 0 || watched == 0 {
		t.Error("nothing was tested")
	}
}
