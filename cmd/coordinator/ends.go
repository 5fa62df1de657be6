// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/modelfile"
	"github.com/shardnode/shardnode/internal/statedir"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// endsOptions are the flags of commands that can keep a model's ends, and with them all tokens, on this machine.
type endsOptions struct {
	local   bool
	threads int
}

func (o *endsOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&o.local, "local-ends", false, "compute embedding, head and sampler here, from the file that --model names (default: the demo model); nodes get no tokens")
	cmdline.ThreadsVar(f, &o.threads, "with --local-ends: compute threads here")
}

// localEnds are the ends of a model file, ready to compute.
type localEnds struct {
	file *modelfile.Model
	ends *layers.Ends
}

// open makes the ends ready if they are asked for, and lets s choose them and their model, which s names by its file so far. Close what it returns.
func (o *endsOptions) open(ctx context.Context, s *client.Selector) (*localEnds, error) {
	l := &localEnds{}
	if !o.local {
		return l, nil
	}
	if o.threads < 1 {
		return nil, cmdline.Usagef("--threads %d: want at least 1", o.threads)
	}
	cmdline.SpareP(o.threads)
	err := l.load(ctx, s, o.threads)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("--local-ends: %w", err)
	}
	return l, nil
}

func (l *localEnds) load(ctx context.Context, s *client.Selector, threads int) (err error) {
	if l.file, err = modelfile.Open(s.Model); err != nil {
		return fmt.Errorf("--model names a file here: %w", err)
	}
	cfg, err := layers.ParseConfig(l.file.File.Meta)
	if err != nil {
		return err
	}
	root, err := statedir.Root()
	if err != nil {
		return err
	}
	manifest, err := gguf.LoadManifest(ctx, l.file.File, l.file.Path, filepath.Join(root, "coordinator", "cache"), hashing())
	if err != nil {
		return err
	}
	if l.ends, err = layers.LoadEnds(ctx, l.file.File, cfg, threads); err != nil {
		return err
	}
	s.Model = protocol.ModelID(manifest.ID()).String()
	s.Ends = &client.Ends{Model: l.ends, Hidden: cfg.Hidden, Vocab: cfg.Vocab}
	return nil
}

// hashing shows how far reading the file is.
func hashing() func(done, total int64) {
	meter := cmdline.NewMeter(os.Stderr)
	return func(done, total int64) {
		if done == total {
			meter.Clear()
			return
		}
		meter.Show("hashing the model, once per file: %s of %s", cmdline.FormatBytes(done), cmdline.FormatBytes(total))
	}
}

// Close gives the memory back. Nobody must compute any more.
func (l *localEnds) Close() {
	if l.ends != nil {
		l.ends.Close()
	}
	if l.file != nil {
		l.file.Close()
	}
}
