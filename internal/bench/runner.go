// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// prefillRows is how many rows one step of a prefill has, as llama.cpp's default.
const prefillRows = 512

// ErrContext says that a test needs more positions than the model has.
var ErrContext = errors.New("context too small")

// Runner holds a loaded model.
type Runner struct {
	model  *layers.Model
	cfg    *layers.Config
	random *rand.Rand
	stream int64 // bytes read a token

	deep  *layers.Cache   // of tests of one session
	depth int             // tokens that deep holds before a test
	batch []*layers.Cache // of batch tests, each holds BatchPrompt tokens

	out   layers.Output
	steps []layers.Step
}

// New loads the model, until ctx ends. The file must stay open as long as the runner lives.
func New(ctx context.Context, f *gguf.File, threads int, progress func(done, total int64)) (*Runner, error) {
	cfg, err := layers.ParseConfig(f.Meta)
	if err != nil {
		return nil, err
	}
	all := protocol.LayerRange{From: 0, To: cfg.NLayers}
	stream, err := layers.PlanBytes(f, cfg, all)
	if err != nil {
		return nil, err
	}
	m, err := layers.LoadContext(ctx, f, cfg, all, layers.Options{Threads: threads, Progress: progress})
	if err != nil {
		return nil, err
	}
	r := &Runner{model: m, cfg: cfg, random: rand.New(rand.NewPCG(1, 2)), stream: stream - layers.IdleBytes(f, cfg)}
	// Of an embedding that is not the head too, a token reads one row.
	if t, ok := f.Tensor("token_embd.weight"); ok {
		if _, own := f.Tensor("output.weight"); own {
			r.stream -= int64(t.Size - t.Size/t.Rows())
		}
	}
	return r, nil
}

// Close frees the model.
func (r *Runner) Close() { r.model.Close() }

// StreamBytes returns the bytes of weights read for one decoded token.
func (r *Runner) StreamBytes() int64 { return r.stream }

// Warm computes a few tokens, so that the first test finds weights in memory and threads awake.
func (r *Runner) Warm() error {
	c := r.model.NewCache(4)
	if err := r.prefill(c, min(3, c.Positions())); err != nil {
		return err
	}
	c.Reset()
	return r.prefill(c, 1)
}

// Prepare computes what has to be in caches before a test, which is kept for the next time.
func (r *Runner) Prepare(t Test) error {
	if n := t.positions(); n > r.cfg.Context {
		return fmt.Errorf("%w: %s needs %d positions, the model has %d", ErrContext, t, n, r.cfg.Context)
	}
	if t.Batch > 0 {
		return r.reserveBatch(t.Batch)
	}
	return r.reserve(t)
}

// Run measures a test once, in tokens a second, and prepares it if need be.
func (r *Runner) Run(ctx context.Context, t Test) (float64, error) {
	if err := r.Prepare(t); err != nil {
		return 0, err
	}
	if t.Batch > 0 {
		return r.runBatch(ctx, t.Batch)
	}
	start := time.Now()
	if t.Prompt > 0 {
		if err := r.prefill(r.deep, t.Prompt); err != nil {
			return 0, err
		}
		return float64(t.Prompt) / time.Since(start).Seconds(), nil
	}
	for range t.Generate {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := r.prefill(r.deep, 1); err != nil {
			return 0, err
		}
	}
	return float64(t.Generate) / time.Since(start).Seconds(), nil
}

// reserve makes a cache with t.Depth tokens in it.
func (r *Runner) reserve(t Test) error {
	if r.deep == nil || r.deep.Positions() < t.positions() {
		if r.deep != nil {
			r.deep.Close()
		}
		r.deep, r.depth = r.model.NewCache(t.positions()), 0
	}
	if r.depth > t.Depth {
		r.depth = t.Depth // a prefix of what is there does as well
	}
	if err := r.deep.Truncate(r.depth); err != nil {
		return err
	}
	if err := r.prefill(r.deep, t.Depth-r.depth); err != nil {
		return err
	}
	r.depth = t.Depth
	return nil
}

// prefill runs n random tokens and computes the logits of the last one.
func (r *Runner) prefill(c *layers.Cache, n int) error {
	for n > 0 {
		k := min(n, prefillRows)
		n -= k
		in := layers.Input{Tokens: r.tokens(k)}
		if n == 0 {
			in.Logits = []uint32{uint32(k - 1)}
		}
		if err := r.model.Forward(c, in, &r.out); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) tokens(n int) []protocol.TokenID {
	out := make([]protocol.TokenID, n)
	for i := range out {
		out[i] = protocol.TokenID(r.random.IntN(r.cfg.Vocab))
	}
	return out
}

// reserveBatch makes n caches with BatchPrompt tokens in them.
func (r *Runner) reserveBatch(n int) error {
	for len(r.batch) < n {
		c := r.model.NewCache(BatchPrompt + BatchGenerate)
		if err := r.prefill(c, BatchPrompt); err != nil {
			return err
		}
		r.batch = append(r.batch, c)
		r.steps = append(r.steps, layers.Step{Cache: c, Input: layers.Input{Logits: []uint32{0}}, Output: new(layers.Output)})
	}
	for _, c := range r.batch[:n] {
		if err := c.Truncate(BatchPrompt); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) runBatch(ctx context.Context, n int) (float64, error) {
	steps := r.steps[:n]
	start := time.Now()
	for range BatchGenerate {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for i := range steps {
			steps[i].Input.Tokens = r.tokens(1)
		}
		if err := r.model.ForwardBatch(steps); err != nil {
			return 0, err
		}
	}
	return float64(n*BatchGenerate) / time.Since(start).Seconds(), nil
}
