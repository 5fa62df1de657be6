// SPDX-License-Identifier: MIT

package engine

import (
	"slices"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// kv is what has been computed for a session: its KV cache and, on the shard that draws, the tokens of its rows. It outlives
// a route: a session of a higher epoch takes it over from the one it replaces.
type kv struct {
	// Constant after construction. A session that differs in one of these cannot take the rows over.
	kind  kvKind
	limit uint32 // positions reserved
	bytes int64  // reserved in the engine's budget

	// Owned by the step loop.
	cache   *layers.Cache
	history []protocol.TokenID // [rows], capacity limit; nil on every shard but the one that draws
	kept    *kept              // outputs; nil on the last shard. Invariant: as many rows as the cache has, or fewer

	// Guarded by Engine.mu.
	rows    uint32   // the owner's rows. The cache may hold more, which the step loop cuts off before it computes on
	outputs uint32   // likewise of kept
	owner   *Session // nil: freed, or about to be when the step that uses it ends
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
	if k.history != nil {
		k.history = k.history[:position]
	}
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

// release frees k. e.mu is held and no step uses k.
func (e *Engine) release(k *kv) {
	e.kvUsed -= k.bytes
	if k.kept != nil {
		e.keptUsed -= k.kept.bytes()
	}
	k.cache.Close()
	k.cache, k.history, k.kept, k.owner = nil, nil, nil, nil
}
