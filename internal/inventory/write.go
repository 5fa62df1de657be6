// SPDX-License-Identifier: MIT

package inventory

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/shardnode/shardnode/pkg/placement/solver"
)

// Write writes an inventory that [Parse] reads again: the model as figures, every link by itself. comment is its first lines, without
// the signs of a comment.
func Write(w io.Writer, inv *Inventory, comment ...string) error {
	b := bufio.NewWriter(w)
	in := &inv.Instance
	for _, line := range comment {
		fmt.Fprintf(b, "# %s\n", line)
	}
	fmt.Fprintf(b, "model:\n  name: %s\n  layers: %d\n", strconv.Quote(inv.Model), len(in.Model.Layers))
	writeLayers(b, in.Model.Layers)
	fmt.Fprintf(b, "  embedding: %dB\n  head: {bytes: %dB, flops: %s}\n  hidden: %dB\n\n", in.Model.Embedding, in.Model.Head.Bytes, flop(in.Model.Head.FLOPs), in.Model.Hidden)
	l := &in.Load
	fmt.Fprintf(b, "load: {prompt: %d, output: %d, context: %d, sessions: %d, streams: %d}\nobjective: %s\n", l.Prompt, l.Output, l.Context, l.Sessions, l.Streams, in.Objective)
	if in.MaxDevices > 0 {
		fmt.Fprintf(b, "max_devices: %d\n", in.MaxDevices)
	}
	if in.Replicas > 1 {
		fmt.Fprintf(b, "replicas: %d\n", in.Replicas)
	}
	fmt.Fprint(b, "\ndevices:\n")
	names := make([]string, 0, len(in.Devices)+1)
	for i := range in.Devices {
		d := &in.Devices[i]
		names = append(names, strconv.Quote(d.Name))
		fmt.Fprintf(b, "  - {name: %s, memory: %dB, decode: %s, prefill: %s, overhead: %s", names[i], d.Memory, rate(d.Decode), number(d.Prefill)+"FLOP/s", d.Overhead)
		if d.Pinned != nil {
			fmt.Fprintf(b, ", pin: %s", d.Pinned)
		}
		if i < len(inv.Today) && inv.Today[i] != nil {
			fmt.Fprintf(b, ", today: %s", inv.Today[i])
		}
		fmt.Fprint(b, "}\n")
	}
	names = append(names, "coordinator")
	fmt.Fprint(b, "\nlinks:\n")
	for i := range in.Links {
		for j := range in.Links[i] {
			if i != j {
				writeLink(b, names[i], names[j], &in.Links[i][j])
			}
		}
	}
	if len(in.Forbidden) > 0 {
		fmt.Fprint(b, "\nforbid:\n")
		for _, f := range in.Forbidden {
			fmt.Fprintf(b, "  - [%s, %s]\n", names[f[0]], names[f[1]])
		}
	}
	return b.Flush()
}

// writeLayers writes one layer for all, or, where they differ, each.
func writeLayers(w io.Writer, all []solver.Layer) {
	one := func(l *solver.Layer) string {
		return fmt.Sprintf("{bytes: %dB, flops: %s, kv: %dB}", l.Bytes, flop(l.FLOPs), l.KV)
	}
	if len(slices.Compact(slices.Clone(all))) == 1 {
		fmt.Fprintf(w, "  layer: %s\n", one(&all[0]))
		return
	}
	fmt.Fprint(w, "  layer:\n")
	for i := range all {
		fmt.Fprintf(w, "    - %s\n", one(&all[i]))
	}
}

func writeLink(w io.Writer, from, to string, l *solver.Link) {
	if l.None {
		fmt.Fprintf(w, "  - {from: %s, to: %s, none: true}\n", from, to)
		return
	}
	fmt.Fprintf(w, "  - {from: %s, to: %s, latency: %s, jitter: %s, loss: %s", from, to, l.Latency.Round(time.Nanosecond), l.Jitter, number(l.Loss))
	if l.Bandwidth > 0 {
		fmt.Fprintf(w, ", bandwidth: %s", rate(l.Bandwidth))
	}
	fmt.Fprint(w, "}\n")
}

// flop writes a count of operations; the format has no word for none.
func flop(n int64) string { return fmt.Sprintf("%dFLOP", max(n, 1)) }

func rate(v float64) string { return number(v) + "B/s" }

// number is exact and has no exponent.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
