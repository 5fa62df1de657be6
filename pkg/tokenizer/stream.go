// SPDX-License-Identifier: MIT

package tokenizer

import (
	"strings"
	"unicode/utf8"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// StreamDecoder turns tokens into text as they are generated. A character can be spread over several tokens: what is
// not yet complete is held back. It continues a prompt, so unlike [Tokenizer.Decode] it never takes a space off.
type StreamDecoder struct {
	t       *Tokenizer
	pending []byte // the beginning of a character, at most 3 bytes between calls
}

// Stream returns a decoder for one generation.
func (t *Tokenizer) Stream() *StreamDecoder { return &StreamDecoder{t: t} }

// Next takes one token and returns the text that is now complete, always valid UTF-8 and often empty. Each byte that
// can no longer become part of a character gives U+FFFD. Control tokens give nothing.
func (d *StreamDecoder) Next(id protocol.TokenID) string {
	if d.t.hidden(id) {
		return ""
	}
	d.pending = append(d.pending, d.t.Piece(id)...)
	n := len(d.pending)
	for i := max(0, n-utf8.UTFMax+1); i < n; i++ {
		if utf8.RuneStart(d.pending[i]) && !utf8.FullRune(d.pending[i:]) {
			n = i
			break
		}
	}
	s := validUTF8(d.pending[:n])
	d.pending = append(d.pending[:0], d.pending[n:]...)
	return s
}

// Flush ends the stream and returns U+FFFD for each byte still held back.
func (d *StreamDecoder) Flush() string {
	s := validUTF8(d.pending)
	d.pending = d.pending[:0]
	return s
}

// validUTF8 replaces each byte that is part of no character.
func validUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}
