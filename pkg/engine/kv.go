// SPDX-License-Identifier: MIT

package engine

import (
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// kv is what has been computed for a session: its KV cache and, on the last shard, the tokens of its rows. It outlives
// a route: a session of a higher epoch takes it over from the one it replaces.
type kv struct {
	// Constant after construction. A session that differs in one of these cannot take the rows over.
	layers protocol.LayerRange
	wire   protocol.DType // rows behind an f16 boundary differ from those behind an f32 one
	limit  uint32         // positions reserved
	bytes  int64          // reserved in the engine's budget

	// Owned by the step loop.
	cache   *layers.Cache
	history []protocol.TokenID // [rows], capacity limit; nil on every shard but the last

	// Guarded by Engine.mu.
	rows  uint32   // the owner's rows. The cache may hold more, which the step loop cuts off before it computes on
	owner *Session // nil: freed, or about to be when the step that uses it ends
}

// serves reports whether a session with these properties can go on with the rows of k.
func (k *kv) serves(r protocol.LayerRange, wire protocol.DType, positions uint32) bool {
	return k != nil && k.layers == r && k.wire == wire && k.limit >= positions
}

// truncate forgets rows from position on.
func (k *kv) truncate(position uint32) error {
	if err := k.cache.Truncate(int(position)); err != nil {
		return err
	}
	if k.history != nil {
		k.history = k.history[:position]
	}
	return nil
}

// release frees k. e.mu is held and no step uses k.
func (e *Engine) release(k *kv) {
	e.kvUsed -= k.bytes
	k.cache.Close()
	k.cache, k.history, k.owner = nil, nil, nil
}
