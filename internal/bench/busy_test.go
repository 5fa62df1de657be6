// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets this program be what StartBusy starts, and a program that dies beside what it started.
func TestMain(m *testing.M) {
	if len(os.Args) != 2 {
		os.Exit(m.Run())
	}
	switch os.Args[1] {
	case "spin":
		if Spin(context.Background(), os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
	case "start-and-die":
		b, err := StartBusy(1, os.Args[0], "spin")
		if err != nil {
			panic(err)
		}
		fmt.Println(b.processes[0].Process.Pid)
		select {} // until it is killed
	default:
		os.Exit(m.Run())
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	b, err := StartBusy(2, os.Args[0], "spin")
	if err != nil {
		t.Fatal(err)
	}
	processes := b.processes
	if len(processes) != 2 {
		t.Fatalf("%d processes", len(processes))
	}
	for _, p := range processes {
		if runtime.GOOS == "linux" {
			await(t, "it uses a CPU", func() bool { return ticks(p.Process.Pid) > 0 })
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, p := range processes {
		if p.ProcessState == nil || p.ProcessState.ExitCode() != 0 {
			t.Errorf("a process ends as %v", p.ProcessState)
		}
	}
	if b, err = StartBusy(1, os.Args[0], "spin"); err != nil {
		t.Fatal(err)
	}
	if err := b.processes[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if b.Close() == nil {
		t.Error("a process that was not there to the end: no error")
	}
	if _, err := StartBusy(1, os.Args[0], "-test.run=^$"); err == nil || !strings.Contains(err.Error(), "does not spin") {
		t.Errorf("a program that does something else: %v", err)
	}
	if _, err := StartBusy(1, os.Args[0]+"-is-not-there"); err == nil {
		t.Error("no program: no error")
	}
}

// TestBusyEndsWithItsParent: nothing is left behind by a benchmark that was killed.
func TestBusyEndsWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks at other processes in /proc")
	}
	t.Parallel()
	parent := exec.Command(os.Args[0], "start-and-die")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanln(out, &pid); err != nil {
		t.Fatal(err)
	}
	if !running(pid) {
		t.Fatal("it does not run")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	await(t, "it is gone", func() bool { return !running(pid) })
}

// patience bounds a wait that is over at once when all is well.
const patience = 30 * time.Second

// await asks until the answer is yes.
func await(t *testing.T, what string, ask func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ask() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in %s: %s", patience, what)
		}
	}
}

// process returns the fields that Linux tells of a process, from its state on; nil if there is none.
func process(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, fields, _ := strings.Cut(string(stat), ") ")
	return strings.Fields(fields)
}

// running reports whether there is a process that has not ended, be it waited for or not.
func running(pid int) bool {
	fields := process(pid)
	return len(fields) > 0 && fields[0] != "Z"
}

// ticks returns how much CPU time a process has used.
func ticks(pid int) int {
	n, _ := strconv.Atoi(process(pid)[11])
	return n
}

func TestSpinEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	in, _ := io.Pipe() // nothing comes
	out, said := io.Pipe()
	ended := make(chan error)
	go func() { ended <- Spin(ctx, in, said) }()
	if line, err := io.ReadAll(io.LimitReader(out, int64(len(spinning)))); string(line) != spinning || err != nil {
		t.Errorf("it said %q, %v", line, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	l, err := NewLimit(2)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if speed := l.Run(); speed < 1e8 || speed > 1e13 {
		t.Errorf("memory is read at %.3g bytes/s", speed)
	}
}
