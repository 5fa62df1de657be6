// SPDX-License-Identifier: MIT

// Package tokenizer turns text into token IDs and back, and conversations into prompts, from what a GGUF file says
// about itself: byte-level BPE ("gpt2") and SentencePiece BPE ("llama"), and the Jinja chat template.
//
// It reads no files (the caller hands in metadata) and never samples or stops a generation; it only says which tokens
// are ends. The coordinator calls it. A [Tokenizer] and a [ChatTemplate] do not change once made and may be used by any
// number of goroutines; a [StreamDecoder] belongs to one.
package tokenizer

import (
	"bytes"
	"fmt"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Tokenizer holds one model's vocabulary. Make it with [New].
type Tokenizer struct {
	vocab   *vocab
	special specialTokens
	encoder encoder

	template     string // tokenizer.chat_template, "" without one
	toolTemplate string // tokenizer.chat_template.tool_use, likewise
}

// encoder turns plain text, free of special tokens, into IDs: *bpe or *spm.
type encoder interface {
	encode(dst []protocol.TokenID, text string, afterSpecial bool) []protocol.TokenID
}

// New reads the tokenizer.* keys. A tokenizer model or pre-tokenizer that it does not know is an error that names it
// and lists the known ones: guessing would give a model token IDs that it was not trained on.
func New(meta *gguf.Metadata) (*Tokenizer, error) {
	model, err := meta.String("tokenizer.ggml.model")
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w (use a GGUF file that holds its vocabulary)", err)
	}
	t := &Tokenizer{}
	for key, dst := range map[string]*string{"tokenizer.chat_template": &t.template, "tokenizer.chat_template.tool_use": &t.toolTemplate} {
		if meta.Has(key) {
			if *dst, err = meta.String(key); err != nil {
				return nil, fmt.Errorf("tokenizer: %w", err)
			}
		}
	}
	if t.vocab, err = readVocab(meta, model); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	defaults, err := t.readEncoder(meta, model)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if t.special, err = readSpecial(meta, t.vocab, defaults); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

// readEncoder builds the encoder and returns what the file's model implies about BOS and EOS where no key says it.
func (t *Tokenizer) readEncoder(meta *gguf.Metadata, model string) (specialDefaults, error) {
	switch model {
	case "gpt2":
		// llama.cpp treats a missing key as "default", a set of regular expressions that no model was trained with.
		pre, err := meta.String("tokenizer.ggml.pre")
		if err != nil {
			return specialDefaults{}, fmt.Errorf("%w: which pre-tokenizer the model needs is not known (known: %s)", err, knownPreTokenizers)
		}
		p, err := preTokenizerFor(pre)
		if err != nil {
			return specialDefaults{}, err
		}
		t.encoder, err = newBPE(meta, t.vocab, p)
		return specialDefaults{addBOS: p.addBOS, bos: noToken, eos: noToken, unknown: noToken}, err
	case "llama":
		s, err := newSPM(meta, t.vocab)
		if err != nil {
			return specialDefaults{}, err
		}
		t.encoder = s
		return specialDefaults{addBOS: true, bos: 1, eos: 2, unknown: 0}, nil
	}
	return specialDefaults{}, fmt.Errorf("tokenizer.ggml.model %q is not supported (known: gpt2, llama)", model)
}

// EncodeOptions says how text becomes tokens. The zero value takes the text literally.
type EncodeOptions struct {
	AddSpecial   bool // put BOS in front and EOS behind where the file asks for it
	ParseSpecial bool // text such as <|im_start|> becomes that control token; leave it off for text from users
}

// Encode returns the tokens of text. Any bytes are accepted; those that are not UTF-8 are encoded byte by byte.
func (t *Tokenizer) Encode(text string, opt EncodeOptions) []protocol.TokenID {
	var ids []protocol.TokenID
	if opt.AddSpecial && t.special.addBOS {
		ids = append(ids, protocol.TokenID(t.special.bos))
	}
	afterSpecial := true
	for _, f := range t.special.partition(text, opt.ParseSpecial) {
		if f.token != noToken {
			ids = append(ids, protocol.TokenID(f.token))
			afterSpecial = true
			continue
		}
		ids = t.encoder.encode(ids, f.text, afterSpecial)
		afterSpecial = false
	}
	if opt.AddSpecial && t.special.addEOS {
		ids = append(ids, protocol.TokenID(t.special.eos))
	}
	return ids
}

// Decode returns the text of ids, the inverse of [Tokenizer.Encode]: control and unknown tokens and IDs outside the
// vocabulary give nothing, and the space that SentencePiece models put before a text is taken off again. The bytes need
// not be UTF-8: a list of IDs can end within a character. For output as it is generated use [StreamDecoder].
func (t *Tokenizer) Decode(ids []protocol.TokenID) []byte {
	var out []byte
	for _, id := range ids {
		if !t.hidden(id) {
			out = append(out, t.Piece(id)...)
		}
	}
	if s, ok := t.encoder.(*spm); ok && s.addSpacePrefix {
		out = bytes.TrimPrefix(out, []byte(" "))
	}
	return out
}

// DecodeSpecial is [Tokenizer.Decode] with control and unknown tokens shown by their names and nothing taken off.
func (t *Tokenizer) DecodeSpecial(ids []protocol.TokenID) []byte {
	var out []byte
	for _, id := range ids {
		out = append(out, t.Piece(id)...)
	}
	return out
}

// Piece returns the bytes that id stands for, a control token's name included; nil outside the vocabulary. The
// tokenizer owns the slice.
func (t *Tokenizer) Piece(id protocol.TokenID) []byte {
	if int64(id) >= int64(len(t.vocab.text)) {
		return nil
	}
	return t.vocab.piece(int32(id))
}

// Text returns the bytes that id adds to a text: [Tokenizer.Piece], but nil for control and unknown tokens.
func (t *Tokenizer) Text(id protocol.TokenID) []byte {
	if t.hidden(id) {
		return nil
	}
	return t.Piece(id)
}

// hidden reports whether id is no part of the text it appears in.
func (t *Tokenizer) hidden(id protocol.TokenID) bool {
	if int64(id) >= int64(len(t.vocab.text)) {
		return true
	}
	k := t.vocab.kind(int32(id))
	return k == kindControl || k == kindUnknown
}

// Vocab returns the number of tokens: IDs are below it.
func (t *Tokenizer) Vocab() int { return len(t.vocab.text) }

// BOS returns the token that begins a sequence, if the model has one.
func (t *Tokenizer) BOS() (protocol.TokenID, bool) {
	return protocol.TokenID(t.special.bos), t.special.bos != noToken
}

// AddsBOS reports whether the file asks for BOS in front of a text.
func (t *Tokenizer) AddsBOS() bool { return t.special.addBOS }

// EOS returns the token that ends a sequence, if the model has one. A generation can end on others too: [Tokenizer.IsEnd].
func (t *Tokenizer) EOS() (protocol.TokenID, bool) {
	return protocol.TokenID(t.special.eos), t.special.eos != noToken
}

// IsEnd reports whether a generation stops at id: the file's EOS, EOT and EOM tokens and the control tokens that are
// known by name to end a text or a turn.
func (t *Tokenizer) IsEnd(id protocol.TokenID) bool { return t.special.ends[id] }
