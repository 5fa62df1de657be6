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
	busy    int
	asJSON  bool
}

func newBench() *cobra.Command {
	o := &benchOptions{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a model computes on this machine, beside llama.cpp if it is there",
		Long: `Measure how fast a whole model computes on this machine, in tokens a second: pp512 is a prefill of 512 tokens, tg128 a decode of 128,
tg128@4096 the same behind 4096 tokens of context, batch8 a decode of 8 sessions together. The model is a file, a random one of a real
shape (--shape; see coordinator model synth), or the embedded demo model. Beside a decode stands how fast the machine read memory just
before, which is its limit. --versus llama-bench runs llama.cpp's benchmark on the same file and threads, the two in turn, and prints how
many times faster this program is. --busy 1 does all that while another process keeps a CPU busy.`,
		Example: `  shardnode bench --model m.gguf --threads 2
  shardnode bench --shape 1.5b --type q4_0 --versus llama-bench -r 10
  shardnode bench --shape 0.4b --tests tg128 --versus llama-bench --busy 1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBench(cmd, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.model, "model", "", "GGUF file (default: the embedded demo model)")
	f.StringVar(&o.shape, "shape", "", "instead of a file, a random model of this shape: tiny, 0.4b, 1.5b, 7b or moe")
	f.StringVar(&o.typ, "type", "q8_0", "with --shape: tensor type, such as q4_0 or q4_k_m")
	cmdline.ThreadsVar(f, &o.threads, "compute threads")
	f.IntVarP(&o.rounds, "rounds", "r", 5, "how often each test runs")
	f.StringVar(&o.tests, "tests", bench.DefaultTests, "what to measure")
	f.StringVar(&o.versus, "versus", "", "compare with this program: llama-bench, on PATH or a path to it")
	f.IntVar(&o.busy, "busy", 0, "keep so many CPUs busy with other processes meanwhile")
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
	case o.busy < 0 || o.busy > 1024:
		return cmdline.Usagef("--busy %d: want 0 to 1024", o.busy)
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
	cmdline.SpareP(o.threads) // as the daemon
	meter := cmdline.NewMeter(cmd.ErrOrStderr())
	r, err := bench.New(cmd.Context(), m.File, o.threads, func(done, total int64) {
		meter.Show("loading: %s of %s", cmdline.FormatBytes(done), cmdline.FormatBytes(total))
	})
	meter.Clear()
	if err != nil {
		return err
	}
	defer r.Close()
	limit, err := bench.NewLimit(o.threads)
	if err != nil {
		return err
	}
	defer limit.Close()
	report := newBenchReport(m, r, o)
	b := &benchmark{cmd: cmd, options: o, runner: r, limit: limit, peer: peer, path: path, report: report}
	if err := withBusy(o.busy, func() error { return b.run(tests) }); err != nil {
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
	err = m.Write(cmd.Context(), f, &convert.Encoder{Threads: runtime.GOMAXPROCS(0), Progress: func(n int64) {
		written += n
		meter.Show("making the model: %s of %s", cmdline.FormatBytes(written), cmdline.FormatBytes(m.Bytes()))
	}})
	return errors.Join(err, f.Close())
}

// benchmark is what the rounds need.
type benchmark struct {
	cmd     *cobra.Command
	options *benchOptions
	runner  *bench.Runner
	limit   *bench.Limit
	peer    *bench.LlamaBench // nil: none
	path    string            // of the model's file
	report  *benchReport
}

// run runs the rounds.
func (b *benchmark) run(tests []bench.Test) error {
	meter := cmdline.NewMeter(b.cmd.ErrOrStderr())
	defer meter.Clear()
	if err := b.runner.Warm(); err != nil {
		return err
	}
	skipped := map[bench.Test]bool{}
	for round := range b.options.rounds {
		for _, t := range tests {
			if skipped[t] {
				continue
			}
			meter.Show("round %d of %d: %s", round+1, b.options.rounds, t)
			f, err := b.measure(b.cmd.Context(), t)
			if errors.Is(err, bench.ErrContext) {
				skipped[t] = true
				b.report.Skipped = append(b.report.Skipped, benchSkipped{t.String(), err.Error()})
				continue
			}
			if err != nil {
				return err
			}
			b.report.add(t, f)
		}
	}
	return nil
}

// benchFigures are a test's of one round.
type benchFigures struct {
	ours, theirs float64 // tokens a second; theirs 0: not measured
	limit        float64 // bytes a second; 0: not measured
}

// measure runs a test once. What it is compared with comes right before and after it, for a machine's speed drifts.
func (b *benchmark) measure(ctx context.Context, t bench.Test) (f benchFigures, err error) {
	if err := b.runner.Prepare(t); err != nil {
		return f, err
	}
	if t.DecodesOne() {
		f.limit = b.limit.Run()
	}
	if f.ours, err = b.runner.Run(ctx, t); err != nil {
		return f, err
	}
	if b.peer != nil && b.peer.Can(t) {
		f.theirs, err = b.peer.Run(ctx, b.path, b.options.threads, t)
	}
	return f, err
}
