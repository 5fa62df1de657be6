// SPDX-License-Identifier: MIT

package pipeline

import (
	"fmt"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// FailedError says where a generation failed and what was generated until then.
type FailedError struct {
	Phase     Phase
	Hop       *protocol.Hop // the shard to blame; nil: none
	Shard     int           // its place in the route, from 1
	Shards    int
	Position  int // rows answered
	Generated []protocol.TokenID
	Err       error
}

// Error names shard, layers, peer, phase and the last good token.
func (e *FailedError) Error() string {
	where := ""
	if e.Hop != nil {
		where = fmt.Sprintf("shard %d/%d (layers %s, peer %s): ", e.Shard, e.Shards, e.Hop.Layers, e.Hop.Peer)
	}
	tail := "nothing was generated"
	switch n := len(e.Generated); {
	case n == 1:
		tail = fmt.Sprintf("one token was generated, %d", e.Generated[0])
	case n > 1:
		tail = fmt.Sprintf("%d tokens were generated, the last is %d", n, e.Generated[n-1])
	}
	return fmt.Sprintf("%sin %s: %v; %s", where, e.Phase, e.Err, tail)
}

// Unwrap returns the cause.
func (e *FailedError) Unwrap() error { return e.Err }

// PromptTooLongError says that a prompt does not fit the model's context.
type PromptTooLongError struct {
	Tokens, Context int
}

func (e *PromptTooLongError) Error() string {
	return fmt.Sprintf("the prompt has %d tokens, the model's context is %d: shorten the prompt", e.Tokens, e.Context)
}
