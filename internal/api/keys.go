// SPDX-License-Identifier: MIT

package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// Keys are the API keys that may ask, each with a name for logs and fairness. Only hashes are kept.
type Keys struct {
	hashes [][sha256.Size]byte
	names  []string
}

// Limits of a file of keys.
const (
	maxKeyFile = 1 << 20 // bytes
	minKey     = 16      // bytes: what is shorter can be guessed
)

// ReadKeys reads a file with a key a line, and a name for its owner behind it if wanted. Empty lines and those that begin with # are
// comments.
func ReadKeys(path string) (*Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	if len(raw) > maxKeyFile {
		return nil, fmt.Errorf("API keys: %s is longer than %d bytes", path, maxKeyFile)
	}
	k, err := parseKeys(string(raw))
	if err != nil {
		return nil, fmt.Errorf("API keys: %s: %w", path, err)
	}
	return k, nil
}

func parseKeys(text string) (*Keys, error) {
	k := &Keys{}
	seen := map[[sha256.Size]byte]bool{}
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		key, name := fields[0], fmt.Sprintf("line-%d", i+1)
		if len(fields) > 1 {
			name = fields[1]
		}
		hash := sha256.Sum256([]byte(key))
		switch {
		case len(fields) > 2:
			return nil, fmt.Errorf("line %d: want KEY or KEY NAME", i+1)
		case len(key) < minKey:
			return nil, fmt.Errorf("line %d: the key has %d bytes, want %d at least: openssl rand -hex 24", i+1, len(key), minKey)
		case seen[hash]:
			return nil, fmt.Errorf("line %d: this key is there twice", i+1)
		}
		seen[hash] = true
		k.hashes, k.names = append(k.hashes, hash), append(k.names, name)
	}
	if len(k.hashes) == 0 {
		return nil, fmt.Errorf("no keys: write one a line")
	}
	return k, nil
}

// name returns whose key it is. It takes as long for any key of a length: hashes are compared, all of them, in constant time.
func (k *Keys) name(key string) (name string, ok bool) {
	hash := sha256.Sum256([]byte(key))
	at := -1
	for i := range k.hashes {
		if subtle.ConstantTimeCompare(hash[:], k.hashes[i][:]) == 1 {
			at = i
		}
	}
	if at < 0 {
		return "", false
	}
	return k.names[at], true
}

// bearer returns the key of a request.
func bearer(r *http.Request) (key string, ok bool) {
	scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(key), true
}
