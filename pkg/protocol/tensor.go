// SPDX-License-Identifier: MIT

package protocol

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"

	"github.com/shardnode/shardnode/internal/quant"
)

// Rows returns the number of rows of the step that f answers.
func (f *IntermediateResult) Rows() int { return len(f.Tokens) }

// AppendHidden appends x as little-endian elements of type d; f16 rounds to nearest even.
func AppendHidden(dst []byte, x []float32, d DType) []byte {
	at := len(dst)
	dst = slices.Grow(dst, len(x)*d.Size())[:at+len(x)*d.Size()]
	b := dst[at:]
	if d == F16 {
		for i, v := range x {
			binary.LittleEndian.PutUint16(b[2*i:], quant.F32ToF16(v))
		}
		return dst
	}
	for i, v := range x {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return dst
}

// HiddenInto decodes what [AppendHidden] wrote; b must hold exactly len(dst) elements.
func HiddenInto(dst []float32, b []byte, d DType) error {
	if d.Size() == 0 || len(b) != len(dst)*d.Size() {
		return fmt.Errorf("%d bytes are not %d elements of %s", len(b), len(dst), d)
	}
	if d == F16 {
		for i := range dst {
			dst[i] = quant.F16ToF32(binary.LittleEndian.Uint16(b[2*i:]))
		}
		return nil
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return nil
}

// Digest returns the first half of the SHA-256 over a result's output: element type and number of rows (one and four bytes),
// hidden states, generated tokens (four bytes each) and logit rows, each of the three behind its length in bytes (eight bytes); then log
// probabilities, if there are any: token and value, four bytes each. Numbers are little-endian.
func Digest(f *IntermediateResult) [16]byte {
	h := sha256.New()
	var scratch [16]byte
	b := append(scratch[:0], byte(f.DType))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Tokens)))
	h.Write(binary.LittleEndian.AppendUint64(b, uint64(len(f.Hidden))))
	h.Write(f.Hidden)
	h.Write(binary.LittleEndian.AppendUint64(scratch[:0], 4*uint64(len(f.Generated))))
	for _, t := range f.Generated {
		h.Write(binary.LittleEndian.AppendUint32(scratch[:0], uint32(t)))
	}
	h.Write(binary.LittleEndian.AppendUint64(scratch[:0], uint64(len(f.LogitRows))))
	h.Write(f.LogitRows)
	for _, p := range f.Logprobs {
		b = binary.LittleEndian.AppendUint32(scratch[:0], uint32(p.Token))
		h.Write(binary.LittleEndian.AppendUint32(b, math.Float32bits(p.Value)))
	}
	var sum [sha256.Size]byte
	return [16]byte(h.Sum(sum[:0]))
}

// KVDigest returns the first half of the SHA-256 over a part of a KV cache: first and end layer, position and rows (four bytes
// each), tokens (four bytes each) behind their length in bytes (eight bytes), keys and values behind theirs. Numbers are little-endian.
func KVDigest(f *KVRows) [16]byte {
	h := sha256.New()
	var scratch [16]byte
	b := binary.LittleEndian.AppendUint32(scratch[:0], uint32(f.Layers.From))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.Layers.To))
	b = binary.LittleEndian.AppendUint32(b, f.Position)
	h.Write(binary.LittleEndian.AppendUint32(b, f.Rows))
	h.Write(binary.LittleEndian.AppendUint64(scratch[:0], 4*uint64(len(f.Tokens))))
	for _, t := range f.Tokens {
		h.Write(binary.LittleEndian.AppendUint32(scratch[:0], uint32(t)))
	}
	h.Write(binary.LittleEndian.AppendUint64(scratch[:0], uint64(len(f.KV))))
	h.Write(f.KV)
	var sum [sha256.Size]byte
	return [16]byte(h.Sum(sum[:0]))
}

// ParseModelID reads 64 hex digits.
func ParseModelID(s string) (ModelID, error) {
	var id ModelID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("model ID %q: want %d hex digits", s, 2*len(id))
	}
	copy(id[:], b)
	return id, nil
}

// AdmissionMAC is the proof of one side of the admission handshake: HMAC-SHA256 under the swarm key over a domain string, the
// swarm's name, the prover's role, both peer IDs and both nonces, each text behind its length. A proof is worth nothing to another peer, in the
// other direction, or a second time.
func AdmissionMAC(key []byte, swarm string, role byte, dialer, listener string, nonceDialer, nonceListener [32]byte) [32]byte {
	m := hmac.New(sha256.New, key)
	b := []byte("shardnode admission 1")
	for _, s := range []string{swarm, string(role), dialer, listener} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	b = append(b, nonceDialer[:]...)
	b = append(b, nonceListener[:]...)
	m.Write(b)
	return [32]byte(m.Sum(nil))
}
