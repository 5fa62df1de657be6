// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"errors"
	"time"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Profile is how fast a machine computes a model, as it has measured itself. Zero: not known.
type Profile struct {
	Decode  uint64 `json:"decode"`  // bytes a second of weights in steps of one row
	Prefill uint64 `json:"prefill"` // FLOP a second in steps of many rows
}

const (
	// profileBytes is how much weight is loaded to measure: more than most caches, where the model has as much.
	profileBytes = 96 << 20
	// profileTime is how long each of the two is measured, and profileRuns how often at least.
	profileTime = 40 * time.Millisecond
	profileRuns = 3
	// profileRows is how many rows a step of prefill has, fewer if one of them takes too long.
	profileRows = protocol.DefaultChunkRows
	profileStep = 200 * time.Millisecond
)

// MeasureProfile loads some layers of the middle of a model and computes with them, for about a tenth of a second, longer where a single
// step takes so long. The best of the steps counts: others may use the machine.
func MeasureProfile(ctx context.Context, f *gguf.File, threads int) (Profile, error) {
	cfg, err := layers.ParseConfig(f.Meta)
	if err != nil {
		return Profile{}, err
	}
	r, bytes, err := sampleRange(f, cfg)
	if err != nil {
		return Profile{}, err
	}
	m, err := layers.LoadContext(ctx, f, cfg, r, layers.Options{Threads: threads})
	if err != nil {
		return Profile{}, err
	}
	defer m.Close()
	cache := m.NewCache(min(cfg.Context, profileRows))
	defer cache.Close()
	var out layers.Output
	step := func(rows int) (time.Duration, error) {
		cache.Reset()
		in := layers.Input{Layers: r, Tokens: make([]protocol.TokenID, rows)}
		if r.From > 0 {
			in.Hidden = make([]float32, rows*cfg.Hidden)
			for i := range in.Hidden {
				in.Hidden[i] = float32(i%7) - 3
			}
		}
		began := time.Now()
		err := m.Forward(cache, in, &out)
		return time.Since(began), err
	}
	best := func(rows int) (time.Duration, error) {
		least := time.Duration(1<<63 - 1)
		began := time.Now()
		for i := 0; i < profileRuns || time.Since(began) < profileTime; i++ {
			took, err := step(rows)
			if err != nil || ctx.Err() != nil {
				return 0, errors.Join(err, ctx.Err())
			}
			least = min(least, max(took, 1))
		}
		return least, nil
	}
	one, err := best(1)
	if err != nil {
		return Profile{}, err
	}
	rows := max(1, min(profileRows, cfg.Context, int(profileStep/one)))
	many, err := best(rows)
	if err != nil {
		return Profile{}, err
	}
	var flops uint64 // of a row: two operations a weight
	for _, name := range layers.RequiredTensors(f, cfg, r) {
		if t, ok := f.Tensor(name); ok {
			flops += 2 * t.Elements()
		}
	}
	return Profile{
		Decode:  uint64(float64(bytes) / one.Seconds()),
		Prefill: uint64(float64(flops) * float64(rows) / many.Seconds()),
	}, nil
}

// sampleRange is a range of layers from the middle, without embedding and head where the model has three layers, and its bytes.
func sampleRange(f *gguf.File, cfg *layers.Config) (r protocol.LayerRange, bytes int64, err error) {
	r.From = min(1, cfg.NLayers-1)
	for r.To = r.From + 1; ; r.To++ {
		if bytes, err = layers.PlanBytes(f, cfg, r); err != nil {
			return r, 0, err
		}
		if bytes >= profileBytes || r.To+1 >= cfg.NLayers {
			return r, bytes, nil
		}
	}
}
