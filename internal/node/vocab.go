// SPDX-License-Identifier: MIT

package node

import (
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// readVocab makes what the last shard needs to hold answers to a grammar: the bytes of each token. The manifest always has
// them; the file's own metadata may be pruned once the layers are loaded.
func readVocab(manifest []byte) (*grammar.Vocab, error) {
	m, err := gguf.ParseManifest(manifest)
	if err != nil {
		return nil, err
	}
	t, err := tokenizer.New(m.Meta)
	if err != nil {
		return nil, err
	}
	return grammar.NewVocab(t.Vocab(), func(id int) []byte { return t.Text(protocol.TokenID(id)) }, func(id int) bool { return t.IsEnd(protocol.TokenID(id)) })
}
