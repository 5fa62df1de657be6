// SPDX-License-Identifier: MIT

package protocol_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// The MAC is over the concatenation that docs/protocol.md lists.
func TestAdmissionMAC(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{7}, 32)
	d, l := rising[[32]byte](0x40), rising[[32]byte](0x80)
	h := hmac.New(sha256.New, key)
	h.Write(unhex(t, "73686172646e6f64652061646d697373696f6e2031 00000003 6c6162 00000001 01 00000002 0001 00000003 000203"))
	h.Write(d[:])
	h.Write(l[:])
	if got := protocol.AdmissionMAC(key, "lab", 1, "\x00\x01", "\x00\x02\x03", d, l); got != [32]byte(h.Sum(nil)) {
		t.Errorf("%x, want %x", got, h.Sum(nil))
	}
}

// A proof is worth nothing to another peer, in the other direction, in another swarm or a second time.
func TestAdmissionMACBindsEverything(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef")
	d, l := rising[[32]byte](1), rising[[32]byte](2)
	seen := map[[32]byte]string{}
	for name, mac := range map[string][32]byte{
		"base":              protocol.AdmissionMAC(key, "lab", 1, "aa", "bb", d, l),
		"no key":            protocol.AdmissionMAC(nil, "lab", 1, "aa", "bb", d, l),
		"another key":       protocol.AdmissionMAC([]byte("0123456789abcdeg"), "lab", 1, "aa", "bb", d, l),
		"another swarm":     protocol.AdmissionMAC(key, "lab2", 1, "aa", "bb", d, l),
		"the other role":    protocol.AdmissionMAC(key, "lab", 2, "aa", "bb", d, l),
		"another dialer":    protocol.AdmissionMAC(key, "lab", 1, "ac", "bb", d, l),
		"another listener":  protocol.AdmissionMAC(key, "lab", 1, "aa", "bc", d, l),
		"peers exchanged":   protocol.AdmissionMAC(key, "lab", 1, "bb", "aa", d, l),
		"a byte moved":      protocol.AdmissionMAC(key, "lab", 1, "aab", "b", d, l),
		"swarm into dialer": protocol.AdmissionMAC(key, "la", 1, "baa", "bb", d, l),
		"nonces exchanged":  protocol.AdmissionMAC(key, "lab", 1, "aa", "bb", l, d),
		"another nonce":     protocol.AdmissionMAC(key, "lab", 1, "aa", "bb", d, rising[[32]byte](3)),
	} {
		if other, ok := seen[mac]; ok {
			t.Errorf("%s and %s have the same MAC", name, other)
		}
		seen[mac] = name
	}
}
