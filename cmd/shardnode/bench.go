// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/bench"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/convert"
	"github.com/shardnode/shardnode/internal/modelfile"
	"github.com/shardnode/shardnode/internal/synth"
	"github.com/shardnode/shardnode/models"
)

type benchOptions struct {
	model   string
	shape   string
	typ     string
	threads int
	rounds  int
	tests   string
	versus  string
	asJSON  bool
}

func newBench() *cobra.Command {
	o := &benchOptions{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a model computes on this machine, beside llama.cpp if it is there",
		Long: `Measure how fast a whole model computes on this machine, in tokens a second: pp512 is a prefill of 512 tokens, tg128 a decode of 128,
tg128@4096 the same behind 4096 tokens of context, batch8 a decode of 8 sessions together. The model is a file, a random one of a real
shape (--shape; see coordinator model synth), or the embedded demo model. --versus llama-bench runs llama.cpp's benchmark on the same
file and threads, the two in turn, and prints how many times faster this program is.`,
		Example: `  shardnode bench --model m.gguf --threads 2
  shardnode bench --shape 1.5b --type q4_0 --versus llama-bench -r 10`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBench(cmd, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.model, "model", "", "GGUF file (default: the embedded demo model)")
	f.StringVar(&o.shape, "shape", "", "instead of a file, a random model of this shape: tiny, 0.4b, 1.5b or 7b")
	f.StringVar(&o.typ, "type", "q8_0", "with --shape: tensor type, such as q4_0 or q4_k_m")
	f.IntVar(&o.threads, "threads", runtime.NumCPU(), "compute threads")
	f.Lookup("threads").DefValue = "one a CPU"
	f.IntVarP(&o.rounds, "rounds", "r", 5, "how often each test runs")
	f.StringVar(&o.tests, "tests", bench.DefaultTests, "what to measure")
	f.StringVar(&o.versus, "versus", "", "compare with this program: llama-bench, on PATH or a path to it")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object")
	return cmd
}

func runBench(cmd *cobra.Command, o *benchOptions) error {
	switch {
	case o.model != "" && o.shape != "":
		return cmdline.Usagef("--model and --shape: want one of them")
	case o.shape == "" && cmd.Flags().Changed("type"):
		return cmdline.Usagef("--type is for --shape: a file has its types already")
	case o.threads < 1 || o.threads > 1024:
		return cmdline.Usagef("--threads %d: want 1 to 1024", o.threads)
	case o.rounds < 1 || o.rounds > 1000:
		return cmdline.Usagef("--rounds %d: want 1 to 1000", o.rounds)
	}
	tests, err := bench.ParseTests(o.tests)
	if err != nil {
		return cmdline.Usagef("--tests: %v", err)
	}
	var peer *bench.LlamaBench
	if o.versus != "" {
		if peer, err = bench.FindLlamaBench(o.versus); err != nil {
			return fmt.Errorf("--versus: %w", err)
		}
	}
	path, done, err := o.file(cmd, peer != nil)
	if err != nil {
		return err
	}
	defer done()
	m, err := modelfile.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	// As the daemon: one P more than compute threads.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), o.threads+1))
	meter := cmdline.NewMeter(cmd.ErrOrStderr())
	r, err := bench.New(cmd.Context(), m.File, o.threads, func(done, total int64) {
		meter.Show("loading: %s of %s", cmdline.FormatBytes(done), cmdline.FormatBytes(total))
	})
	meter.Clear()
	if err != nil {
		return err
	}
	defer r.Close()
	report := newBenchReport(m, r, o)
	if err := measure(cmd, o, r, peer, path, tests, report); err != nil {
		return err
	}
	return report.print(cmd.OutOrStdout(), o.asJSON)
}

// file returns the path of the model; "" is the embedded one, which gets a file of its own when another program is to read it. The
// function returned removes what was made.
func (o *benchOptions) file(cmd *cobra.Command, needed bool) (path string, done func(), err error) {
	if o.model != "" || o.shape == "" && !needed {
		return o.model, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "shardnode-bench")
	if err != nil {
		return "", nil, err
	}
	done = func() { _ = os.RemoveAll(dir) }
	if o.shape == "" {
		path = filepath.Join(dir, models.DemoName)
		err = os.WriteFile(path, models.Demo(), 0o600)
	} else {
		path = filepath.Join(dir, o.shape+"-"+o.typ+".gguf")
		err = o.synthesise(cmd, path)
	}
	if err != nil {
		done()
		return "", nil, err
	}
	return path, done, nil
}

// synthesise writes the random model.
func (o *benchOptions) synthesise(cmd *cobra.Command, path string) error {
	shape, err := synth.ParseShape(o.shape)
	if err != nil {
		return cmdline.Usagef("--shape: %v", err)
	}
	file, err := convert.ParseFileType(o.typ)
	if err != nil {
		return cmdline.Usagef("--type: %v", err)
	}
	m, err := synth.New(shape, file, 1)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	meter := cmdline.NewMeter(cmd.ErrOrStderr())
	defer meter.Clear()
	var written int64
	err = m.Write(cmd.Context(), f, &convert.Encoder{Threads: runtime.NumCPU(), Progress: func(n int64) {
		written += n
		meter.Show("making the model: %s of %s", cmdline.FormatBytes(written), cmdline.FormatBytes(m.Bytes()))
	}})
	return errors.Join(err, f.Close())
}

// measure runs the rounds; with a peer, each of its figures comes right after ours.
func measure(cmd *cobra.Command, o *benchOptions, r *bench.Runner, peer *bench.LlamaBench, path string, tests []bench.Test, report *benchReport) error {
	ctx := cmd.Context()
	meter := cmdline.NewMeter(cmd.ErrOrStderr())
	defer meter.Clear()
	if err := r.Warm(); err != nil {
		return err
	}
	skipped := map[bench.Test]bool{}
	for round := range o.rounds {
		for _, t := range tests {
			if skipped[t] {
				continue
			}
			meter.Show("round %d of %d: %s", round+1, o.rounds, t)
			ours, err := r.Run(ctx, t)
			if errors.Is(err, bench.ErrContext) {
				skipped[t] = true
				report.Skipped = append(report.Skipped, benchSkipped{t.String(), err.Error()})
				continue
			}
			if err != nil {
				return err
			}
			theirs, err := runPeer(ctx, o, peer, path, t)
			if err != nil {
				return err
			}
			report.add(t, ours, theirs)
		}
	}
	return nil
}

// runPeer returns llama.cpp's figure, 0 where there is none.
func runPeer(ctx context.Context, o *benchOptions, peer *bench.LlamaBench, path string, t bench.Test) (float64, error) {
	if peer == nil || !peer.Can(t) {
		return 0, nil
	}
	return peer.Run(ctx, path, o.threads, t)
}
