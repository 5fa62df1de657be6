// SPDX-License-Identifier: MIT

// Package swarmkey reads and makes swarm key files: one line, "shardnode-swarm-key-1:" and 32 random bytes in base64. Used by both
// command lines.
package swarmkey

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	prefix  = "shardnode-swarm-key-1:"
	keyLen  = 32
	maxFile = 1 << 10
)

// Read returns the key in the file, nil when path is empty.
func Read(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("swarm key: %w; make one: coordinator swarm new-key FILE", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("swarm key: %w", err)
	}
	key, err := parse(string(raw))
	if err != nil {
		return nil, fmt.Errorf("swarm key %s: %w", path, err)
	}
	return key, nil
}

func parse(s string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(s), prefix)
	if !ok {
		return nil, errors.New("not a swarm key file; make one: coordinator swarm new-key FILE")
	}
	key, err := base64.RawStdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) != keyLen {
		return nil, fmt.Errorf("damaged: want %d bytes in base64; copy the file again", keyLen)
	}
	return key, nil
}

// Create writes a new random key to path, readable by the user only. It never overwrites.
func Create(path string) error {
	key := make([]byte, keyLen)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("swarm key: %w", err)
	}
	_, err = fmt.Fprintln(f, prefix+base64.RawStdEncoding.EncodeToString(key))
	return errors.Join(err, f.Close())
}
