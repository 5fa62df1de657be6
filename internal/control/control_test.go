// SPDX-License-Identifier: MIT

package control

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

func TestHealthOverTheSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "ctl") //nolint:usetesting // t.TempDir is too long for a socket path on some systems
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := Ask(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "no shardnode answers") {
		t.Fatalf("asking nobody: %v", err)
	}
	var ready, draining atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, dir, Daemon{
			Health: func() Health { return Health{Ready: ready.Load(), Layers: "0-7", Draining: draining.Load()} },
			Drain:  func() { draining.Store(true) },
		})
	}()
	var h Health
	for err = os.ErrNotExist; err != nil; h, err = Ask(t.Context(), dir) {
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	if h.Ready || h.Layers != "0-7" {
		t.Fatalf("health = %+v", h)
	}
	ready.Store(true)
	if h, err = Ask(t.Context(), dir); err != nil || !h.Ready {
		t.Fatalf("health = %+v, %v", h, err)
	}
	if h, err = Drain(t.Context(), dir); err != nil || !h.Draining || !draining.Load() {
		t.Fatalf("drain: %+v, %v", h, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	t.Parallel()
	err := Serve(t.Context(), "/"+strings.Repeat("x", 200), Daemon{})
	if err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Fatalf("err = %v", err)
	}
}
