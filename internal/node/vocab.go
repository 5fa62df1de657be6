// SPDX-License-Identifier: MIT

package node

import (
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// readVocab makes what the last shard needs to hold answers to a grammar: the bytes of each token. A file has them whatever layers of it
// are served.
func readVocab(meta *gguf.Metadata) (*grammar.Vocab, error) {
	t, err := tokenizer.New(meta)
	if err != nil {
		return nil, err
	}
	return grammar.NewVocab(t.Vocab(), func(id int) []byte { return t.Text(protocol.TokenID(id)) }, func(id int) bool { return t.IsEnd(protocol.TokenID(id)) })
}
