// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/perplexity"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

type perplexityOptions struct {
	swarm    swarmOptions
	useSwarm bool // --swarm was given
	model    string
	text     string
	context  int
	chunks   int
	threads  int
	asJSON   bool
}

func newPerplexity() *cobra.Command {
	o := &perplexityOptions{}
	cmd := &cobra.Command{
		Use:   "perplexity [FILE] --text TEXT.txt",
		Short: "Measure how well a model predicts a text, on this machine or through a swarm",
		Long: `Measure how well a model predicts a text: lower is better, and a quantised file loses what it gains over its original. Computed as
llama-perplexity does it: the text is cut into chunks of --context tokens, the second half of each is scored. On this machine
from FILE (default: the embedded demo model), or with --swarm through the shards of a swarm, which give the same figure.`,
		Example: `  coordinator model perplexity m.gguf --text book.txt
  coordinator model perplexity --swarm --text book.txt --chunks 4`,
		Args: fileArg("at most one file: coordinator model perplexity m.gguf --text book.txt"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.useSwarm = o.swarm.asked(cmd)
			return runPerplexity(cmd, o, args)
		},
	}
	o.swarm.register(cmd)
	f := cmd.Flags()
	o.swarm.makeOptional(cmd)
	f.StringVar(&o.model, "model", "", "with --swarm: which model, by name or ID prefix")
	f.StringVar(&o.text, "text", "", "file with the text; - for standard input")
	f.IntVar(&o.context, "context", 512, "tokens of a chunk")
	f.IntVar(&o.chunks, "chunks", 0, "score only so many chunks (0: all)")
	cmdline.ThreadsVar(f, &o.threads, "compute threads")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object")
	_ = cmd.MarkFlagRequired("text")
	return cmd
}

type perplexityResult struct {
	Model      string  `json:"model"`
	Context    int     `json:"context"`
	TextTokens int     `json:"text_tokens"`
	Chunks     int     `json:"chunks"`
	Scored     int     `json:"scored_tokens"`
	Perplexity float64 `json:"perplexity"`
	Error      float64 `json:"standard_error"`
	Seconds    float64 `json:"seconds"`
}

func runPerplexity(cmd *cobra.Command, o *perplexityOptions, args []string) error {
	switch {
	case o.useSwarm && len(args) > 0:
		return cmdline.Usagef("--swarm computes with what the nodes serve: without FILE")
	case o.context < perplexity.MinContext || o.context > protocol.MaxPositions:
		return cmdline.Usagef("--context %d: want %d to %d tokens", o.context, perplexity.MinContext, protocol.MaxPositions)
	case o.chunks < 0:
		return cmdline.Usagef("--chunks %d: want a positive number, or 0 for all", o.chunks)
	case o.threads < 1 || o.threads > 1024:
		return cmdline.Usagef("--threads %d: want 1 to 1024", o.threads)
	}
	text, err := readText(cmd.InOrStdin(), o.text)
	if err != nil {
		return err
	}
	open := openLocalScorer
	if o.useSwarm {
		open = openSwarmScorer
	}
	s, err := open(cmd, o, args)
	if err != nil {
		return err
	}
	defer s.close()
	if o.context > s.context {
		return fmt.Errorf("the model's context is %d tokens: pass --context %d or less", s.context, s.context)
	}
	plan, err := perplexity.NewPlan(s.tokenizer, text, o.context)
	if err != nil {
		return err
	}
	r, err := score(cmd, o, s, plan)
	if err != nil {
		return err
	}
	if o.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "perplexity %.4f ± %.5f (%s of %d, %s)\n", r.Perplexity, r.Error, plural(r.Chunks, "chunk"), r.Context, r.Model)
	return err
}

// score runs the chunks.
func score(cmd *cobra.Command, o *perplexityOptions, s *scorer, plan *perplexity.Plan) (*perplexityResult, error) {
	chunks := plan.Chunks()
	if o.chunks > 0 {
		chunks = min(chunks, o.chunks)
	}
	m := cmdline.NewMeter(cmd.ErrOrStderr())
	defer m.Clear()
	start := time.Now()
	var e perplexity.Estimate
	for i := range chunks {
		input, first, next := plan.Chunk(i)
		err := s.rows(cmd.Context(), input, first, func(row int, logits []float32) error { return e.Add(logits, next[row-first]) })
		if err != nil {
			return nil, err
		}
		if e.Tokens() != (i+1)*plan.Scored() {
			return nil, fmt.Errorf("chunk %d: logits of %d rows came back, want %d", i+1, e.Tokens()-i*plan.Scored(), plan.Scored())
		}
		value, deviation := e.Perplexity()
		elapsed := time.Since(start)
		left := elapsed / time.Duration(i+1) * time.Duration(chunks-i-1)
		m.Show("chunk %d of %d: perplexity %.4f ± %.4f, %s left", i+1, chunks, value, deviation, left.Round(time.Second))
	}
	r := &perplexityResult{
		Model: s.name, Context: o.context, TextTokens: plan.Tokens(), Chunks: chunks, Scored: e.Tokens(), Seconds: time.Since(start).Seconds(),
	}
	r.Perplexity, r.Error = e.Perplexity()
	return r, nil
}

// maxText bounds a text to score.
const maxText = 1 << 30

// readText reads the text without its last line feed, as llama-perplexity does.
func readText(stdin io.Reader, path string) (string, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("read the text: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxText+1))
	if err != nil {
		return "", fmt.Errorf("read the text: %w", err)
	}
	if len(raw) > maxText {
		return "", fmt.Errorf("read the text: longer than %s", cmdline.FormatBytes(maxText))
	}
	return strings.TrimSuffix(string(raw), "\n"), nil
}

// scorer runs a model over chunks, here or in a swarm.
type scorer struct {
	name      string
	context   int // positions at the most
	tokenizer *tokenizer.Tokenizer
	close     func()

	// rows runs the model over input from an empty cache and hands over the logits of the rows from first on, in order.
	rows func(ctx context.Context, input []protocol.TokenID, first int, row func(int, []float32) error) error
}

func openLocalScorer(cmd *cobra.Command, o *perplexityOptions, args []string) (*scorer, error) {
	file, err := openModel(args)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.New(file.File.Meta)
	if err != nil {
		file.Close()
		return nil, err
	}
	cfg, err := layers.ParseConfig(file.File.Meta)
	if err != nil {
		file.Close()
		return nil, err
	}
	model, err := layers.LoadContext(cmd.Context(), file.File, cfg, protocol.LayerRange{From: 0, To: cfg.NLayers}, layers.Options{Threads: o.threads})
	if err != nil {
		file.Close()
		return nil, err
	}
	cache := model.NewCache(o.context)
	var out layers.Output
	s := &scorer{name: file.Name, context: cfg.Context, tokenizer: tok, close: func() { model.Close(); file.Close() }}
	s.rows = func(ctx context.Context, input []protocol.TokenID, first int, row func(int, []float32) error) error {
		cache.Reset()
		for from := 0; from < len(input); from += logitsChunk {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := input[from:min(from+logitsChunk, len(input))]
			var want []uint32
			for r := range part {
				if from+r >= first {
					want = append(want, uint32(r))
				}
			}
			if err := model.Forward(cache, layers.Input{Tokens: part, Logits: want}, &out); err != nil {
				return err
			}
			for i, r := range want {
				if err := row(from+int(r), out.Logits[i*cfg.Vocab:(i+1)*cfg.Vocab]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return s, nil
}

func openSwarmScorer(cmd *cobra.Command, o *perplexityOptions, _ []string) (*scorer, error) {
	ctx := cmd.Context()
	c, err := o.swarm.dial(ctx)
	if err != nil {
		return nil, err
	}
	target, err := findTarget(ctx, c, client.Selector{Model: o.model}, o.swarm.wait, newProgress(cmd.ErrOrStderr(), false))
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	model, err := c.Model(ctx, target)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	values := make([]float32, model.Tokenizer.Vocab())
	s := &scorer{name: target.Name, context: target.Context, tokenizer: model.Tokenizer, close: func() { _ = c.Close() }}
	s.rows = func(ctx context.Context, input []protocol.TokenID, first int, row func(int, []float32) error) error {
		var rowErr error
		// Without a token to draw, all that comes back is the logits of the prompt.
		_, err := c.Generate(ctx, target, model, &client.Request{Tokens: input, Logits: pipeline.LogitsPrompt}, client.Observer{
			Logits: func(positions []int, rows []byte) {
				for i, p := range positions {
					if p < first || rowErr != nil {
						continue
					}
					for v := range values {
						values[v] = math.Float32frombits(binary.LittleEndian.Uint32(rows[4*(i*len(values)+v):]))
					}
					rowErr = row(p, values)
				}
			},
		})
		return errors.Join(err, rowErr)
	}
	return s, nil
}
