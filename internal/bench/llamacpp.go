// SPDX-License-Identifier: MIT

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// LlamaBench runs llama.cpp's benchmarks: llama-bench, and llama-batched-bench for batch tests where it is there.
type LlamaBench struct {
	bench   string
	batched string // "" without
}

// FindLlamaBench finds name, such as "llama-bench", on PATH or as a path, and llama-batched-bench beside it or on PATH.
func FindLlamaBench(name string) (*LlamaBench, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%w: build llama.cpp and put llama-bench on PATH, or give its path", err)
	}
	l := &LlamaBench{bench: path}
	for _, candidate := range []string{filepath.Join(filepath.Dir(path), "llama-batched-bench"), "llama-batched-bench"} {
		if l.batched, err = exec.LookPath(candidate); err == nil {
			break
		}
	}
	return l, nil
}

// Can reports whether the programs found can measure the test.
func (l *LlamaBench) Can(t Test) bool { return t.Batch == 0 || l.batched != "" }

// Run measures a test once, in tokens a second.
func (l *LlamaBench) Run(ctx context.Context, model string, threads int, t Test) (float64, error) {
	n := strconv.Itoa
	if t.Batch > 0 {
		out, err := command(ctx, l.batched, "-m", model, "-t", n(threads), "-tb", n(threads), "-ngl", "0", "-fa", "on",
			"-c", n(t.Batch*(BatchPrompt+BatchGenerate)), "-b", "512", "-ub", "512",
			"-npp", n(BatchPrompt), "-ntg", n(BatchGenerate), "-npl", n(t.Batch), "--output-format", "jsonl")
		if err != nil {
			return 0, err
		}
		return speed(out, "speed_tg", map[string]int{"pp": BatchPrompt, "tg": BatchGenerate, "pl": t.Batch})
	}
	out, err := command(ctx, l.bench, "-m", model, "-t", n(threads), "-ngl", "0", "-fa", "1", "-r", "1", "-o", "jsonl",
		"-p", n(t.Prompt), "-n", n(t.Generate), "-d", n(t.Depth))
	if err != nil {
		return 0, err
	}
	return speed(out, "avg_ts", map[string]int{"n_prompt": t.Prompt, "n_gen": t.Generate, "n_depth": t.Depth})
}

// command returns the program's stdout.
func command(ctx context.Context, path string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		detail := ""
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
			detail = ": " + lines[len(lines)-1]
		}
		return nil, fmt.Errorf("%s %s: %w%s", filepath.Base(path), strings.Join(args, " "), err, detail)
	}
	return out, nil
}

// speed finds the JSON object among the lines that has the wanted numbers, and returns its figure.
func speed(out []byte, figure string, want map[string]int) (float64, error) {
lines:
	for line := range bytes.Lines(out) {
		var object map[string]any
		if json.Unmarshal(line, &object) != nil {
			continue
		}
		for key, n := range want {
			if object[key] != float64(n) {
				continue lines
			}
		}
		if v, ok := object[figure].(float64); ok && v > 0 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("no %s for %v in what the benchmark printed: its version is too old or too new", figure, want)
}
