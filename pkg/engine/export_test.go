// SPDX-License-Identifier: MIT

package engine

import "github.com/shardnode/shardnode/pkg/protocol"

// QueueBroken queues an input that Submit would refuse and the model must: hidden states are missing.
func (s *Session) QueueBroken() {
	s.slots <- struct{}{}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	s.queue = append(s.queue, &input{step: 7, tokens: []protocol.TokenID{1}})
	s.schedule()
}
