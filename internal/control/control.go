// SPDX-License-Identifier: MIT

// Package control is a daemon's local control: HTTP over a unix socket in its data directory, readable by its user only. It is
// never reachable over the network. Safe for concurrent use.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// SocketName is the socket's file name in the data directory.
const SocketName = "control.sock"

// answerTimeout bounds a question to a daemon: it answers from memory.
const answerTimeout = 3 * time.Second

// maxSocketPath is what fits sun_path on the systems we build for (104 on darwin, 108 on Linux), less the NUL.
const maxSocketPath = 103

// Health is a daemon's word on itself.
type Health struct {
	Ready      bool     `json:"ready"` // range loaded and advertised
	Loaded     bool     `json:"loaded"`
	Advertised bool     `json:"advertised"`
	Reason     string   `json:"reason,omitempty"` // why not ready
	Peer       string   `json:"peer"`
	Model      string   `json:"model"`
	ModelID    string   `json:"model_id"`
	Layers     string   `json:"layers"`
	Addrs      []string `json:"addrs"`
	Version    string   `json:"version"`
	PID        int      `json:"pid"`
	Sessions   int      `json:"sessions"`
	Memory     Memory   `json:"memory"`
	Draining   bool     `json:"draining"`
}

// Memory is what a daemon holds at the most, in bytes, and how much of the KV caches' memory is in use.
type Memory struct {
	Weights     int64 `json:"weights_bytes"`
	KVBudget    int64 `json:"kv_budget_bytes"`
	KVUsed      int64 `json:"kv_used_bytes"`
	KVCached    int64 `json:"kv_cached_bytes"` // of prompts that no session uses
	Replay      int64 `json:"replay_budget_bytes"`
	ReplayUsed  int64 `json:"replay_used_bytes"`
	Activations int64 `json:"activation_bytes"`
	Buffers     int64 `json:"buffer_bytes"`
	Program     int64 `json:"program_bytes"`
}

// Daemon is what can be asked of one.
type Daemon struct {
	Health func() Health
	Drain  func() // begin to leave; it does not wait
}

// Serve answers on the socket in dir until ctx ends.
func Serve(ctx context.Context, dir string, d Daemon) error {
	path := filepath.Join(dir, SocketName)
	if len(path) > maxSocketPath {
		return fmt.Errorf("control socket: the path %s is longer than %d bytes; pass a shorter --data-dir", path, maxSocketPath)
	}
	// The data directory is locked by this process: a socket left there belongs to a dead one.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		h := d.Health()
		status := http.StatusOK
		if !h.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, h)
	})
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, _ *http.Request) {
		d.Drain()
		answer(w, http.StatusAccepted, d.Health())
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: answerTimeout, MaxHeaderBytes: 4 << 10}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

func answer(w http.ResponseWriter, status int, h Health) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(h)
}

// Ask returns the health of the daemon that holds dir.
func Ask(ctx context.Context, dir string) (Health, error) {
	return request(ctx, dir, http.MethodGet, "/health")
}

// Drain makes the daemon that holds dir leave, and returns its health. It does not wait for the leaving.
func Drain(ctx context.Context, dir string) (Health, error) {
	return request(ctx, dir, http.MethodPost, "/drain")
}

func request(ctx context.Context, dir, method, path string) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, SocketName))
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://daemon"+path, http.NoBody)
	if err != nil {
		return Health{}, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		if asked := new(url.Error); errors.As(err, &asked) {
			err = asked.Err // without the URL, which means nothing to a user
		}
		return Health{}, fmt.Errorf("no shardnode answers in %s: %w", dir, err)
	}
	defer resp.Body.Close()
	var h Health
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&h); err != nil {
		return Health{}, fmt.Errorf("the answer of the shardnode in %s is not understood: %w", dir, err)
	}
	return h, nil
}
