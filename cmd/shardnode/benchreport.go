// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/shardnode/shardnode/internal/bench"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/modelfile"
)

// benchReport is the output of bench.
type benchReport struct {
	Model       string         `json:"model"`
	Threads     int            `json:"threads"`
	CPU         string         `json:"cpu_path"`
	Busy        int            `json:"busy"` // processes of others that kept CPUs busy
	Rounds      int            `json:"rounds"`
	TensorBytes int64          `json:"tensor_bytes"`
	StreamBytes int64          `json:"stream_bytes"` // read for one decoded token
	Tests       []*benchResult `json:"tests"`
	Skipped     []benchSkipped `json:"skipped,omitempty"`

	versus bool
}

type benchResult struct {
	Test   string       `json:"test"`
	Median float64      `json:"tokens_per_second"`
	Spread float64      `json:"spread"`
	Bytes  float64      `json:"bytes_per_second,omitempty"` // of weights, where each token reads all
	Rounds bench.Series `json:"rounds"`
	Limit  *benchLimit  `json:"stream_read,omitempty"` // where each token reads all weights
	Peer   *benchPeer   `json:"llama_bench,omitempty"`
	Ratio  float64      `json:"ratio,omitempty"` // median of the rounds' ratios

	test   bench.Test
	ratios bench.Series
}

// benchLimit says how fast memory was read right before a decode, and how near the decode came to that.
type benchLimit struct {
	Median   float64      `json:"bytes_per_second"`
	Spread   float64      `json:"spread"`
	Rounds   bench.Series `json:"rounds"`
	Fraction float64      `json:"fraction"` // median of the rounds' fractions

	fractions bench.Series
}

type benchPeer struct {
	Median float64      `json:"tokens_per_second"`
	Spread float64      `json:"spread"`
	Rounds bench.Series `json:"rounds"`
}

type benchSkipped struct {
	Test   string `json:"test"`
	Reason string `json:"reason"`
}

func newBenchReport(m *modelfile.Model, r *bench.Runner, o *benchOptions) *benchReport {
	report := &benchReport{
		Model: m.Name, Threads: o.threads, CPU: kernel.Path(), Busy: o.busy, Rounds: o.rounds, StreamBytes: r.StreamBytes(), Tests: []*benchResult{}, versus: o.versus != "",
	}
	for _, t := range m.File.Tensors {
		report.TensorBytes += int64(t.Size)
	}
	return report
}

// add takes a round's figures.
func (b *benchReport) add(t bench.Test, f benchFigures) {
	var r *benchResult
	for _, have := range b.Tests {
		if have.test == t {
			r = have
		}
	}
	if r == nil {
		r = &benchResult{Test: t.String(), test: t}
		b.Tests = append(b.Tests, r)
	}
	r.Rounds = append(r.Rounds, f.ours)
	r.Median, r.Spread = r.Rounds.Median(), r.Rounds.Spread()
	if f.limit > 0 {
		if r.Limit == nil {
			r.Limit = &benchLimit{}
		}
		r.Bytes = r.Median * float64(b.StreamBytes)
		l := r.Limit
		l.Rounds = append(l.Rounds, f.limit)
		l.Median, l.Spread = l.Rounds.Median(), l.Rounds.Spread()
		l.fractions = append(l.fractions, f.ours*float64(b.StreamBytes)/f.limit)
		l.Fraction = l.fractions.Median()
	}
	if f.theirs > 0 {
		if r.Peer == nil {
			r.Peer = &benchPeer{}
		}
		r.Peer.Rounds = append(r.Peer.Rounds, f.theirs)
		r.Peer.Median, r.Peer.Spread = r.Peer.Rounds.Median(), r.Peer.Rounds.Spread()
		r.ratios = append(r.ratios, f.ours/f.theirs)
		r.Ratio = r.ratios.Median()
	}
}

func (b *benchReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(b)
	}
	rounds := "1 round"
	if b.Rounds > 1 {
		rounds = fmt.Sprintf("median of %d rounds", b.Rounds)
	}
	busy := ""
	if b.Busy > 0 {
		busy = fmt.Sprintf(", busy CPUs %d", b.Busy)
	}
	fmt.Fprintf(w, "%s: %s, threads %d%s, CPU path %s, %s\n\n", b.Model, cmdline.FormatBytes(b.TensorBytes), b.Threads, busy, b.CPU, rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "test\ttokens/s\tspread\tGB/s\tread\tof it\t"
	if b.versus {
		head += "llama-bench\tspread\tratio\t"
	}
	fmt.Fprintln(t, head)
	for _, r := range b.Tests {
		fmt.Fprintf(t, "%s\t%.2f\t%.0f %%\t", r.Test, r.Median, 100*r.Spread)
		if l := r.Limit; l != nil {
			fmt.Fprintf(t, "%.2f\t%.2f\t%.2f\t", r.Bytes/1e9, l.Median/1e9, l.Fraction)
		} else {
			fmt.Fprint(t, "\t\t\t")
		}
		if b.versus {
			if r.Peer != nil {
				fmt.Fprintf(t, "%.2f\t%.0f %%\t%.2f\t", r.Peer.Median, 100*r.Peer.Spread, r.Ratio)
			} else {
				fmt.Fprint(t, "-\t\t\t")
			}
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range b.Skipped {
		if _, err := fmt.Fprintf(w, "%s was left out: %s\n", s.Test, s.Reason); err != nil {
			return err
		}
	}
	return nil
}
