// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// inferOptions are the flags of `coordinator infer`.
type inferOptions struct {
	swarm swarmOptions
	ends  endsOptions
	model string

	maxTokens   uint32
	sampling    protocol.Sampling
	bias        []string
	schema      string
	grammar     string
	stop        []string
	raw         bool
	template    string
	asJSON      bool
	verbose     bool
	logitsOut   string
	path        string
	wire        string
	kv          string
	chunk       int
	stepTimeout time.Duration
	onFailure   string
	recoverFor  time.Duration
	trace       bool
	traceJSON   string
}

func newInfer() *cobra.Command { return newInferOf(&inferOptions{}) }

// newInferOf has the command's flags set o.
func newInferOf(o *inferOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "infer PROMPT",
		Short: "Generate through the swarm and print tokens as they come",
		Long: `Generate through the swarm and print tokens as they come. PROMPT may be - to read it from standard input.

The answer goes to stdout, everything else to stderr, what the model thinks before it answers included. The model's chat template is
applied where it has one; --chat-template takes another one, --raw sends the prompt as it is. With temperature 0, the default, the
same prompt always gives the same tokens; with a temperature, the same --seed does.

A node that dies, hangs or is cut off costs time, not the answer: another one that serves its layers takes over and the same tokens
go on. Where there is none, the generation waits for one (--recover-timeout), or fails at once with --on-failure fail.

With --local-ends this machine turns tokens into hidden states and hidden states into tokens itself, from the model's file, and nodes get
no token IDs. The answer is the same. It is no secrecy: who has the model can learn tokens from hidden states (SECURITY.md).`,
		Example: `  coordinator infer "What is AI?"
  coordinator infer --temperature 0.7 --top-p 0.9 --seed 1 --raw "Once upon a time"
  coordinator infer --local-ends --model llama.gguf "What is AI?"
  coordinator infer --json "What is AI?" | jq .overhead_ms_per_token
  coordinator infer --trace "What is AI?"`,
		Args: exactArgs(1, `one prompt: coordinator infer "What is AI?"`),
		RunE: func(cmd *cobra.Command, args []string) error { return infer(cmd, o, args[0]) },
	}
	o.swarm.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.model, "model", "", "which model, by name or ID prefix, when the swarm serves several; with --local-ends, its file")
	o.ends.register(f)
	f.Uint32Var(&o.maxTokens, "max-tokens", 256, "tokens to generate at the most")
	f.Float32Var(&o.sampling.Temperature, "temperature", 0, "0 takes the likeliest token; higher is more varied")
	f.Uint32Var(&o.sampling.TopK, "top-k", 0, "keep the k likeliest tokens (0: all)")
	f.Float32Var(&o.sampling.TopP, "top-p", 1, "keep the likeliest tokens with this much probability together")
	f.Float32Var(&o.sampling.MinP, "min-p", 0, "drop tokens less likely than this part of the likeliest")
	f.Float32Var(&o.sampling.RepeatPenalty, "repeat-penalty", 1, "above 1 makes recent tokens less likely")
	f.Uint32Var(&o.sampling.RepeatLastN, "repeat-last-n", sampler.DefaultRepeatLastN, "how many recent tokens --repeat-penalty looks at")
	f.Float32Var(&o.sampling.PresencePenalty, "presence-penalty", 0, "make each token that was generated less likely by this much")
	f.Float32Var(&o.sampling.FrequencyPenalty, "frequency-penalty", 0, "the same, once for each time it was generated")
	f.StringArrayVar(&o.bias, "logit-bias", nil, "TOKEN=VALUE: add the value to the logit of a token, by its number; repeatable")
	f.StringVar(&o.schema, "json-schema", "", "hold the answer to the JSON schema in this file (docs/api.md says what is known of JSON Schema)")
	f.StringVar(&o.grammar, "grammar", "", "hold the whole answer to the grammar in this file (docs/grammar.md)")
	f.Uint64Var(&o.sampling.Seed, "seed", 0, "seed of the random draws")
	f.StringArrayVar(&o.stop, "stop", nil, "end the answer before this text; repeatable")
	f.BoolVar(&o.raw, "raw", false, "no chat template; special tokens in the prompt are read as such")
	f.StringVar(&o.template, "chat-template", "", "use the Jinja chat template in this file in place of the model's own")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object (docs/cli.md) when done")
	f.BoolVar(&o.verbose, "verbose", false, "show request, route, each shard's time and the totals on stderr")
	f.StringVar(&o.logitsOut, "logits-out", "", "write the logits of each drawn token to this .npy file: float32 [tokens][vocabulary]")
	f.StringVar(&o.path, "path", "direct", "how hidden states travel: direct (shard to shard) or relay (through the coordinator)")
	f.StringVar(&o.wire, "wire", "f32", "element type of hidden states on the wire: f32 (exact) or f16 (half the bytes)")
	f.StringVar(&o.kv, "kv", "", "element type of the KV cache the route must have: f16 or f32 (default: what the nodes serve)")
	f.IntVar(&o.chunk, "prefill-chunk", protocol.DefaultChunkRows, "prompt rows of one prefill step; changes the speed, never the answer")
	f.DurationVar(&o.stepTimeout, "step-timeout", time.Minute, "replace a node that lives but does not get on, when a step has no answer for this long")
	f.StringVar(&o.onFailure, "on-failure", "recover", "when a node is lost: recover, or fail at once")
	f.BoolVar(&o.trace, "trace", false, "draw on stderr where the time of each token went, and what limits the rate")
	f.StringVar(&o.traceJSON, "trace-json", "", "write where the time of each token went to this file, as JSON (docs/observability.md)")
	f.DurationVar(&o.recoverFor, "recover-timeout", 30*time.Second, "how long to wait for a node that serves lost layers")
	return cmd
}

// request checks the flags and returns what to ask for.
func (o *inferOptions) request(prompt string) (*client.Request, error) {
	if err := o.parseBias(); err != nil {
		return nil, err
	}
	if err := sampler.Validate(o.sampling); err != nil {
		return nil, &cmdline.UsageError{Err: err}
	}
	req := &client.Request{
		Prompt: prompt, Raw: o.raw, MaxTokens: o.maxTokens, Sampling: o.sampling, Stop: o.stop,
		ChunkRows: o.chunk, StepTimeout: o.stepTimeout, RecoverTimeout: o.recoverFor,
	}
	if o.template != "" {
		if o.raw {
			return nil, cmdline.Usagef("--raw and --chat-template exclude each other")
		}
		var err error
		if req.ChatTemplate, err = readFile("--chat-template", o.template, tokenizer.MaxTemplate); err != nil {
			return nil, err
		}
	}
	if err := o.readForm(req); err != nil {
		return nil, err
	}
	switch o.onFailure {
	case "recover":
	case "fail":
		req.FailFast = true
	default:
		return nil, cmdline.Usagef("--on-failure %q: want recover or fail", o.onFailure)
	}
	if o.recoverFor <= 0 {
		return nil, cmdline.Usagef("--recover-timeout %s: want a positive duration, or --on-failure fail", o.recoverFor)
	}
	switch o.path {
	case "direct":
	case "relay":
		req.Path = protocol.PathRelay
	default:
		return nil, cmdline.Usagef("--path %q: want direct or relay", o.path)
	}
	if o.chunk < 1 || o.chunk > 512 {
		return nil, cmdline.Usagef("--prefill-chunk %d: want 1 to 512", o.chunk)
	}
	for _, s := range o.stop {
		if s == "" {
			return nil, cmdline.Usagef("--stop: an empty text would stop at once")
		}
	}
	if o.stepTimeout <= 0 {
		return nil, cmdline.Usagef("--step-timeout %s: want a positive duration", o.stepTimeout)
	}
	if o.maxTokens < 1 {
		return nil, cmdline.Usagef("--max-tokens %d: want at least 1", o.maxTokens)
	}
	if o.logitsOut != "" {
		req.Logits = pipeline.LogitsDrawn
	}
	return req, nil
}

// selector says which model and numerics the route must have.
func (o *inferOptions) selector() (client.Selector, error) {
	s := client.Selector{Model: o.model}
	var err error
	if s.Wire, err = protocol.ParseDType(o.wire); err != nil {
		return s, cmdline.Usagef("--wire: %v", err)
	}
	if o.kv != "" {
		if s.KV, err = protocol.ParseDType(o.kv); err != nil {
			return s, cmdline.Usagef("--kv: %v", err)
		}
	}
	return s, nil
}

func infer(cmd *cobra.Command, o *inferOptions, prompt string) error {
	ctx := cmd.Context()
	prompt, err := readPrompt(cmd.InOrStdin(), prompt)
	if err != nil {
		return err
	}
	req, err := o.request(prompt)
	if err != nil {
		return err
	}
	selector, err := o.selector()
	if err != nil {
		return err
	}
	ends, err := o.ends.open(ctx, &selector)
	if err != nil {
		return err
	}
	defer ends.Close()
	warnings, err := cmdline.NewLogger("warn", false)
	if err != nil {
		return err
	}
	c, sent, err := o.swarm.dialTraced(ctx, warnings)
	if err != nil {
		return err
	}
	defer sent()
	defer c.Close()
	progress := newProgress(cmd.ErrOrStderr(), o.verbose)
	target, err := findTarget(ctx, c, selector, o.swarm.wait, progress)
	if err != nil {
		return err
	}
	result, err := generate(ctx, cmd, o, c, target, req, progress)
	err = withHint(err)
	if o.asJSON && result != nil {
		if printErr := printJSON(cmd.OutOrStdout(), newInferResult(result, err)); printErr != nil {
			return printErr
		}
	}
	return err
}

// findTarget waits for a route and says on stderr when that takes long.
func findTarget(ctx context.Context, c *client.Client, s client.Selector, wait time.Duration, p *progress) (*client.Target, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	target, err := c.Find(ctx, s, p.looking)
	p.found()
	return target, err
}

func generate(ctx context.Context, cmd *cobra.Command, o *inferOptions, c *client.Client, target *client.Target, req *client.Request, p *progress) (*client.Result, error) {
	model, err := c.Model(ctx, target)
	if err != nil {
		return nil, err
	}
	var logits *npyWriter
	if o.logitsOut != "" {
		if logits, err = createNPY(o.logitsOut, model.Tokenizer.Vocab()); err != nil {
			return nil, err
		}
		defer logits.Close()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	obs := client.Observer{Started: p.started, Opened: p.opened, Step: p.step, Notice: p.notice}
	var text *answer
	if !o.asJSON {
		obs.Reasoning = p.reasoning
		text = newAnswer(cmd.OutOrStdout(), cancel)
		obs.Text = func(s string) {
			p.answering()
			text.text(s)
		}
	}
	var trace *tracing
	if o.trace || o.traceJSON != "" {
		if trace, err = newTracing(o.trace, o.traceJSON); err != nil {
			return nil, err
		}
		defer trace.Close()
		obs.Trace = trace.steps.Add
	}
	if logits != nil {
		obs.Logits = func(_ []int, rows []byte) { logits.Append(rows) }
	}
	result, err := c.Generate(ctx, target, model, req, obs)
	if text != nil {
		err = text.end(err)
	}
	if result != nil {
		p.done(result)
	}
	if trace != nil && result != nil {
		if traceErr := trace.finish(ctx, cmd.ErrOrStderr(), c, result); err == nil {
			err = traceErr
		}
	}
	if logits != nil {
		if closeErr := logits.Close(); err == nil {
			err = closeErr
		}
	}
	return result, err
}

// maxPrompt bounds a prompt read from standard input.
const maxPrompt = 16 << 20

func readPrompt(stdin io.Reader, prompt string) (string, error) {
	if prompt != "-" {
		return prompt, nil
	}
	if cmdline.IsTerminal(os.Stdout) && cmdline.IsTerminal(os.Stderr) {
		fmt.Fprintln(os.Stderr, "reading the prompt from standard input; end with Ctrl-D")
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, maxPrompt+1))
	if err != nil {
		return "", fmt.Errorf("read the prompt: %w", err)
	}
	if len(raw) > maxPrompt {
		return "", fmt.Errorf("read the prompt: longer than %s", cmdline.FormatBytes(maxPrompt))
	}
	return string(raw), nil
}
