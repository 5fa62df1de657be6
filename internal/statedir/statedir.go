// SPDX-License-Identifier: MIT

// Package statedir is a daemon's data directory: who holds it, the node's identity key and the port it listens on. Several
// daemons of one user take the next free directory each. A [Dir] is held by one process until Close.
package statedir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"github.com/libp2p/go-libp2p/core/crypto"
)

// maxNodes bounds the search for a free directory: more daemons of one user on one machine is a mistake.
const maxNodes = 256

// ErrHeld says that another process holds the directory.
var ErrHeld = errors.New("in use by another shardnode")

// Dir is a locked data directory.
type Dir struct {
	Path  string
	Index int // which of the default directories; -1 for a named one

	lock *flock.Flock
}

// Root is where data directories live by default: $XDG_STATE_HOME/shardnode, else ~/.local/state/shardnode (the user's cache
// directory where there is no home).
func Root() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "shardnode"), nil
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "shardnode"), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the data directory: %w; pass --data-dir", err)
	}
	return filepath.Join(dir, "shardnode"), nil
}

// RunDir is where the nodes of this machine tell its coordinators of themselves, below [Root].
func RunDir(root string) string { return filepath.Join(root, "run") }

// Open locks the directory at path, which it makes if need be. The error wraps [ErrHeld] when another process has it.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w; pass another with --data-dir", err)
	}
	lock := flock.New(filepath.Join(path, "lock"))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data directory %s: %w", path, err)
	}
	if !held {
		return nil, fmt.Errorf("data directory %s: %w", path, ErrHeld)
	}
	return &Dir{Path: path, Index: -1, lock: lock}, nil
}

// OpenNext locks the first free of root/node-0, root/node-1, ….
func OpenNext(root string) (*Dir, error) {
	for i := range maxNodes {
		d, err := Open(filepath.Join(root, "node-"+strconv.Itoa(i)))
		if errors.Is(err, ErrHeld) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d.Index = i
		return d, nil
	}
	return nil, fmt.Errorf("all %d data directories under %s are in use; pass --data-dir", maxNodes, root)
}

// Close gives the directory up.
func (d *Dir) Close() error { return d.lock.Close() }

// File returns the path of a file in the directory.
func (d *Dir) File(name string) string { return filepath.Join(d.Path, name) }

// Identity returns the node's Ed25519 key, made at the first call and kept for good: it is the node's peer ID.
func (d *Dir) Identity() (crypto.PrivKey, error) { return Identity(d.File("identity.key")) }

// Identity returns the Ed25519 key in a file, which it makes if there is none, and the directory too.
func Identity(path string) (crypto.PrivKey, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the identity key: %w", err)
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("identity key %s is damaged: %w; move it away to get a new identity", path, err)
	}
	return key, nil
}

func newIdentity(path string) (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an identity key: %w", err)
	}
	raw, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make an identity key: %w", err)
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
		err = WriteFile(path, raw, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("keep the identity key: %w", err)
	}
	return key, nil
}

// Port returns the port kept by an earlier run, 0 if none.
func (d *Dir) Port() int {
	raw, err := os.ReadFile(d.File("port"))
	if err != nil {
		return 0
	}
	port, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 16)
	if err != nil {
		return 0
	}
	return int(port)
}

// KeepPort remembers the port for the next run.
func (d *Dir) KeepPort(port int) error {
	return WriteFile(d.File("port"), []byte(strconv.Itoa(port)+"\n"), 0o600)
}

// WriteFile replaces a file in one step, so that a crash leaves the old or the new content.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
