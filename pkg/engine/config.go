// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Config of an [Engine]. Zero values mean the defaults; Model and ModelID have none.
type Config struct {
	Model   *layers.Model // the node's layer range; used by Run only, while it runs
	ModelID protocol.ModelID
	Peer    string // who speaks in Error frames: the node's peer ID; may be empty

	MaxSessions  int           // sessions open at once; 0: 32
	KVBudget     int64         // bytes of KV cache reserved at once; 0: 1 GiB
	BufferBudget int64         // bytes of inputs that wait and outputs on their way, of all sessions; 0: 256 MiB
	ReplayBudget int64         // bytes of outputs kept for a replacement of the next hop, of all sessions; 0: 256 MiB, negative: none. Beyond it they are computed again when needed
	PrefixCache  int64         // bytes of KVBudget that may stay with pages of sessions that have ended, for others that begin with the same tokens; 0: none
	Idle         time.Duration // a session of which nothing is heard for so long is ended; 0: 10 minutes
	Queue        int           // inputs a session may have waiting before Submit blocks; 0: 4. Each holds its rows' hidden states
	MaxRows      int           // rows of one input; 0: 512; at most protocol.MaxRows

	Observer Observer

	// Vocab returns the model's vocabulary, for answers that are held to a grammar. It is called when the first one is. Nil: such requests
	// are refused.
	Vocab func() (*grammar.Vocab, error)

	// StepCost and Sleep are for tests in virtual time, where compute takes none: after a step of so many rows the
	// loop sleeps its cost, and reports it as processing time. Both nil: none.
	StepCost func(rows int) time.Duration
	Sleep    func(ctx context.Context, d time.Duration)

	Now func() time.Time // nil: time.Now
	Log *zap.Logger      // nil: none
}

const (
	defaultMaxSessions = 32
	defaultKVBudget    = 1 << 30
	defaultBuffers     = 256 << 20
	defaultReplay      = 256 << 20 // the outputs of 16,384 rows at a width of 4096 in f32
	defaultIdle        = 10 * time.Minute
	defaultQueue       = 4
	defaultMaxRows     = 512 // eight times the coordinator's usual chunk; a full queue then holds 32 MiB at a width of 4096

	// outputSlots is how many outputs of a session exist: one on its way through deliver, one waiting for it. A third
	// would only hold memory, since the session's next step needs no more than a free one.
	outputSlots = 2

	// maxFreeInputs and maxFreeHidden bound the free list: the decode steps of as many sessions. More and larger ones are
	// left to the garbage collector.
	maxFreeInputs = 32
	maxFreeHidden = 1 << 14 // elements of one input

	// stopGrace is how long Run waits, when it ends, for deliver calls that are under way.
	stopGrace = 2 * time.Second
)

func (c *Config) validate() error {
	var errs []error
	check := func(bad bool, problem string) {
		if bad {
			errs = append(errs, errors.New(problem))
		}
	}
	check(c.Model == nil, "engine: no model: load one with package layers")
	check(c.ModelID == protocol.ModelID{}, "engine: no model ID: take the manifest's")
	check(c.MaxSessions < 0, "engine: negative MaxSessions")
	check(c.KVBudget < 0, "engine: negative KVBudget")
	check(c.PrefixCache < 0, "engine: negative PrefixCache")
	check(c.BufferBudget < 0, "engine: negative BufferBudget")
	check(c.Idle < 0, "engine: negative Idle")
	check(c.Queue < 0, "engine: negative Queue")
	check(c.MaxRows < 0 || c.MaxRows > protocol.MaxRows, "engine: MaxRows outside 0 to protocol.MaxRows")
	check((c.StepCost == nil) != (c.Sleep == nil), "engine: StepCost and Sleep go together")
	return errors.Join(errs...)
}

// populate fills in the defaults.
func (c *Config) populate() {
	if c.MaxSessions == 0 {
		c.MaxSessions = defaultMaxSessions
	}
	if c.KVBudget == 0 {
		c.KVBudget = defaultKVBudget
	}
	if c.BufferBudget == 0 {
		c.BufferBudget = defaultBuffers
	}
	if c.ReplayBudget == 0 {
		c.ReplayBudget = defaultReplay
	}
	if c.Idle == 0 {
		c.Idle = defaultIdle
	}
	if c.Queue == 0 {
		c.Queue = defaultQueue
	}
	if c.MaxRows == 0 {
		c.MaxRows = defaultMaxRows
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
}
