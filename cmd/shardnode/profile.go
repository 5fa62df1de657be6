// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/statedir"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// keptProfile is a profile in the data directory, and what it is of.
type keptProfile struct {
	Key     string       `json:"key"`
	Profile node.Profile `json:"profile"`
}

// maxProfile bounds the file.
const maxProfile = 4 << 10

// profile is how fast this machine computes the model: of an earlier start of the same program with the same threads, else measured now. A
// node that cannot measure itself says nothing of its speed.
func (o *options) profile(ctx context.Context, dir *statedir.Dir, f *gguf.File, model protocol.ModelID, log *zap.Logger) node.Profile {
	want := fmt.Sprintf("%s %s cpu=%s threads=%d model=%s", cmdline.ShortVersion(), programStamp(), kernel.Path(), o.threads, model)
	path := dir.File("profile.json")
	var kept keptProfile
	if raw, err := os.ReadFile(path); err == nil && len(raw) <= maxProfile && json.Unmarshal(raw, &kept) == nil && kept.Key == want {
		return kept.Profile
	}
	began := time.Now()
	p, err := node.MeasureProfile(ctx, f, o.threads)
	if err != nil {
		if ctx.Err() == nil {
			log.Warn("this machine's speed was not measured", zap.Error(err))
		}
		return node.Profile{}
	}
	log.Info("measured this machine", zap.Float64("decode GB/s", float64(p.Decode)/1e9), zap.Float64("prefill GFLOP/s", float64(p.Prefill)/1e9),
		zap.Duration("took", time.Since(began).Round(time.Millisecond)))
	raw, err := json.Marshal(keptProfile{Key: want, Profile: p})
	if err == nil {
		err = statedir.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		log.Warn("cannot keep this machine's speed: the next start measures it again", zap.Error(err))
	}
	return p
}

// programStamp tells one build of the program from another.
func programStamp() string {
	path, err := os.Executable()
	if err != nil {
		return "?"
	}
	info, err := os.Stat(path)
	if err != nil {
		return "?"
	}
	return fmt.Sprintf("%d@%d", info.Size(), info.ModTime().UnixNano())
}
