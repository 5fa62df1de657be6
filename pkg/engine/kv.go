// SPDX-License-Identifier: MIT

package engine

import (
	"slices"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// kv is what has been computed for a session: its KV cache, the tokens of its rows and, on every shard but the last, their outputs. It
// outlives a route: a session of a higher epoch takes it over from the one it replaces.
type kv struct {
	// Constant after construction. A session that differs in one of these cannot take the rows over.
	kind  kvKind
	limit uint32 // positions there may be
	key   prefixKey
	extra int64 // bytes beside the pages: of a grammar's matcher

	// Owned by the step loop.
	cache   *layers.Cache
	history []protocol.TokenID // [rows]; fewer where rows came from another node that does not know them; nil with local ends
	kept    *kept              // outputs; nil on the last shard. Invariant: as many rows as the cache has, or fewer

	// Guarded by Engine.mu.
	pages     []*page  // those that the cache has, and after them those it will be given
	published int      // of pages, from the first on: those that are remembered
	at        *prefix  // the last of those, or a root; nil: none yet
	private   bool     // no more of them will be: rows came another way
	rows      uint32   // the owner's rows. The cache may hold more, which the step loop cuts off before it computes on
	outputs   uint32   // likewise of kept
	owner     *Session // nil: freed, or about to be when it is no longer lent
	lent      bool     // to the step loop, for a pass or a task. See [Engine.giveBack]
}

// kvKind is what rows depend on beside the tokens: a session that differs in it cannot take them over.
type kvKind struct {
	layers protocol.LayerRange
	wire   protocol.DType
	rounds []uint32 // where hidden states are rounded to wire: rows behind such a boundary differ from others
	local  bool     // the coordinator has the model's ends: there is no history
}

func kindOf(o *protocol.Open) kvKind {
	return kvKind{layers: o.Route[o.Index].Layers, wire: o.Wire, rounds: slices.Clone(o.Rounds), local: o.LocalEnds()}
}

func (k *kvKind) equal(o *kvKind) bool {
	return k.layers == o.layers && k.wire == o.wire && slices.Equal(k.rounds, o.rounds) && k.local == o.local
}

// serves reports whether a session with these properties can go on with the rows of k.
func (k *kv) serves(kind *kvKind, positions uint32) bool {
	return k != nil && k.kind.equal(kind) && k.limit >= positions
}

// truncate forgets rows from position on.
func (k *kv) truncate(position uint32) error {
	if err := k.cache.Truncate(int(position)); err != nil {
		return err
	}
	k.history = k.history[:min(len(k.history), int(position))]
	if k.kept != nil {
		k.kept.truncate(position)
	}
	return nil
}

// keep notes that the owner has no more than so many rows. Engine.mu is held.
func (k *kv) keep(rows uint32) {
	k.rows, k.outputs = min(k.rows, rows), min(k.outputs, rows)
}

// computed notes that the cache's rows are the owner's. Engine.mu is held.
func (k *kv) computed() {
	k.rows = uint32(k.cache.Len())
	if k.kept != nil {
		k.outputs = k.kept.rows
	}
}

// release frees k, but for what is remembered of it. e.mu is held and no step uses k.
func (e *Engine) release(k *kv) {
	e.publish(k, true)
	for _, p := range k.pages {
		e.unref(p)
	}
	if k.kept != nil {
		for _, b := range k.kept.blocks {
			e.have(b.block, -1, 0)
		}
	}
	e.kvUsed -= k.extra
	k.extra, k.pages, k.cache, k.history, k.kept, k.owner, k.at, k.private = 0, nil, nil, nil, nil, nil, nil, true
	e.trim()
}
