// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

type logitsOptions struct {
	swarm   swarmOptions
	model   string
	ids     string
	all     bool
	f32     bool
	npy     string
	top     int
	threads int
	asJSON  bool
}

func newLogits() *cobra.Command {
	o := &logitsOptions{}
	cmd := &cobra.Command{
		Use:   "logits [FILE] --ids 1,2,3",
		Short: "Compute the logits after token IDs, on this machine or through a swarm",
		Long: `Compute the logits after token IDs: on this machine from FILE (default: the embedded demo model), or with --swarm through the
shards of a swarm, which give the same bits. For comparing with other engines: --f32 computes with weights and activations in float32.`,
		Args: fileArg("at most one file: coordinator model logits m.gguf --ids 1,2,3"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLogits(cmd, o, args, o.swarm.asked(cmd))
		},
	}
	o.swarm.register(cmd)
	f := cmd.Flags()
	o.swarm.makeOptional(cmd)
	f.StringVar(&o.model, "model", "", "with --swarm: which model, by name or ID prefix")
	f.StringVar(&o.ids, "ids", "", "token IDs, separated by commas")
	f.BoolVar(&o.all, "all", false, "of every position, not only the last")
	f.BoolVar(&o.f32, "f32", false, "weights, activations and KV cache in float32")
	f.StringVar(&o.npy, "npy", "", "write all values to this .npy file: float32 [positions][vocabulary]")
	f.IntVar(&o.top, "top", 10, "how many of the largest to print")
	cmdline.ThreadsVar(f, &o.threads, "compute threads")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object a position")
	_ = cmd.MarkFlagRequired("ids")
	return cmd
}

func runLogits(cmd *cobra.Command, o *logitsOptions, args []string, askSwarm bool) error {
	if askSwarm && (o.f32 || len(args) > 0) {
		return cmdline.Usagef("--swarm computes with what the nodes serve: without FILE and --f32")
	}
	if o.top < 0 {
		return cmdline.Usagef("--top %d: want a positive number", o.top)
	}
	out := &logitsOutput{cmd: cmd, o: o}
	run := out.local
	if askSwarm {
		run = func([]string) error { return out.throughSwarm() }
	}
	err := run(args)
	if out.npy != nil {
		if closeErr := out.npy.Close(); err == nil {
			err = closeErr
		}
	}
	return err
}

// logitsOutput prints and keeps rows as they come.
type logitsOutput struct {
	cmd *cobra.Command
	o   *logitsOptions
	npy *npyWriter
}

// open begins the output, once the vocabulary's size is known.
func (out *logitsOutput) open(vocab int) (err error) {
	if out.o.npy != "" {
		out.npy, err = createNPY(out.o.npy, vocab)
	}
	return err
}

// logitsChunk is how many rows one pass of the local model has: their logits are in memory together.
const logitsChunk = 64

func (out *logitsOutput) local(args []string) error {
	m, err := openModel(args)
	if err != nil {
		return err
	}
	defer m.Close()
	cfg, err := layers.ParseConfig(m.File.Meta)
	if err != nil {
		return err
	}
	ids, err := parseIDs(out.o.ids, cfg.Vocab)
	if err != nil {
		return err
	}
	if len(ids) > cfg.Context {
		return &pipeline.PromptTooLongError{Tokens: len(ids), Context: cfg.Context}
	}
	model, err := layers.LoadContext(out.cmd.Context(), m.File, cfg, protocol.LayerRange{From: 0, To: cfg.NLayers}, layers.Options{F32: out.o.f32, Threads: max(1, out.o.threads)})
	if err != nil {
		return err
	}
	defer model.Close()
	if err := out.open(cfg.Vocab); err != nil {
		return err
	}
	cache := model.NewCache(len(ids))
	var result layers.Output
	for from := 0; from < len(ids); from += logitsChunk {
		if err := out.cmd.Context().Err(); err != nil {
			return err
		}
		chunk := ids[from:min(from+logitsChunk, len(ids))]
		var want []uint32
		for r := range chunk {
			if out.o.all || from+r == len(ids)-1 {
				want = append(want, uint32(r))
			}
		}
		if err := model.Forward(cache, layers.Input{Tokens: chunk, Logits: want}, &result); err != nil {
			return err
		}
		for i, r := range want {
			if err := out.row(from+int(r), result.Logits[i*cfg.Vocab:(i+1)*cfg.Vocab]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (out *logitsOutput) throughSwarm() error {
	ctx := out.cmd.Context()
	c, err := out.o.swarm.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	target, err := findTarget(ctx, c, client.Selector{Model: out.o.model}, out.o.swarm.wait, newProgress(out.cmd.ErrOrStderr(), false))
	if err != nil {
		return err
	}
	model, err := c.Model(ctx, target)
	if err != nil {
		return err
	}
	vocab := model.Tokenizer.Vocab()
	ids, err := parseIDs(out.o.ids, vocab)
	if err != nil {
		return err
	}
	if err := out.open(vocab); err != nil {
		return err
	}
	// Without a token to draw only rows that are asked for come back: the last one, or all.
	var rowErr error
	req := &client.Request{Tokens: ids, Logits: pipeline.LogitsDrawn}
	if out.o.all {
		req.Logits = pipeline.LogitsPrompt
	}
	_, err = c.Generate(ctx, target, model, req, client.Observer{Logits: func(positions []int, rows []byte) {
		values := make([]float32, vocab)
		for i, p := range positions {
			for v := range values {
				values[v] = math.Float32frombits(binary.LittleEndian.Uint32(rows[4*(i*vocab+v):]))
			}
			if rowErr == nil {
				rowErr = out.row(p, values)
			}
		}
	}})
	if err == nil {
		err = rowErr
	}
	return err
}

// row takes the logits of one position.
func (out *logitsOutput) row(position int, logits []float32) error {
	if out.npy != nil {
		raw := make([]byte, 0, 4*len(logits))
		for _, v := range logits {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		out.npy.Append(raw)
	}
	order := make([]int, len(logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	order = order[:min(out.o.top, len(order))]
	w := out.cmd.OutOrStdout()
	if out.o.asJSON {
		type pair struct {
			ID    int     `json:"id"`
			Logit float32 `json:"logit"`
		}
		top := make([]pair, len(order))
		for i, id := range order {
			top[i] = pair{id, logits[id]}
		}
		return printJSON(w, map[string]any{"position": position, "argmax": kernel.ArgMax(logits), "top": top})
	}
	fmt.Fprintf(w, "position %d:", position)
	for _, id := range order {
		fmt.Fprintf(w, " %d:%.4f", id, logits[id])
	}
	_, err := fmt.Fprintln(w)
	return err
}
