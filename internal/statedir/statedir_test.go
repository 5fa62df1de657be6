// SPDX-License-Identifier: MIT

package statedir

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestNextFreeDirectory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	first, err := OpenNext(root)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenNext(root)
	if err != nil {
		t.Fatal(err)
	}
	if first.Index != 0 || second.Index != 1 {
		t.Fatalf("indices %d and %d, want 0 and 1", first.Index, second.Index)
	}
	if _, err := Open(first.Path); !errors.Is(err, ErrHeld) {
		t.Fatalf("open a held directory: %v, want ErrHeld", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenNext(root)
	if err != nil || again.Index != 0 {
		t.Fatalf("after close: %v, %v; want node-0 again", again, err)
	}
	for _, d := range []*Dir{second, again} {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestIdentityAndPortAreKept(t *testing.T) {
	t.Parallel()
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	a, err := d.Identity()
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Identity()
	if err != nil || !a.Equals(b) {
		t.Fatalf("second identity differs (%v)", err)
	}
	if d.Port() != 0 {
		t.Fatal("a port before any was kept")
	}
	if err := d.KeepPort(4001); err != nil {
		t.Fatal(err)
	}
	if got := d.Port(); got != 4001 {
		t.Fatalf("port = %d", got)
	}
	if err := os.WriteFile(d.File("port"), []byte("99999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.Port(); got != 0 {
		t.Fatalf("a damaged port file gives %d, want 0", got)
	}
}

func TestDamagedIdentityIsNamed(t *testing.T) {
	t.Parallel()
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.WriteFile(d.File("identity.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Identity(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("err = %v", err)
	}
}
