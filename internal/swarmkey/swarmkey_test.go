// SPDX-License-Identifier: MIT

package swarmkey

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreateAndRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	key, err := Read(path)
	if err != nil || len(key) != keyLen || bytes.Equal(key, make([]byte, keyLen)) {
		t.Fatalf("key %x, %v", key, err)
	}
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second create: %v, want ErrExist", err)
	}
	if key, err := Read(""); key != nil || err != nil {
		t.Fatalf("no path: %x, %v", key, err)
	}
}

func TestBadKeyFiles(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "", "text": "secret", "short": prefix + "AAAA", "not base64": prefix + strings.Repeat("!", 43),
		"two lines": prefix + strings.Repeat("A", 43) + "\nmore",
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		}
	}
	if _, err := Read("no-such-file"); err == nil || !strings.Contains(err.Error(), "new-key") {
		t.Errorf("missing file: %v, want a hint", err)
	}
}
