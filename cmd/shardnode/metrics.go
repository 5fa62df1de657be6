// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/node"
)

// listenMetrics listens where --metrics says, before anything is loaded: an address that is taken is told at once. Without the flag it
// returns nil.
func (o *options) listenMetrics(ctx context.Context) (net.Listener, error) {
	if o.metrics == "" {
		return nil, nil
	}
	addr := o.metrics
	if !strings.Contains(addr, ":") {
		addr = "127.0.0.1:" + addr
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, cmdline.Usagef("--metrics %q: want HOST:PORT or PORT", o.metrics)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	return l, nil
}

// metricsTimeout bounds a question and its answer.
const metricsTimeout = 10 * time.Second

// serveMetrics answers on l until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, registry *prometheus.Registry, n *node.Node) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: metricsTimeout}))
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if h := n.Health(); !h.Ready {
			http.Error(w, h.Reason, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: metricsTimeout, ReadTimeout: metricsTimeout, WriteTimeout: 2 * metricsTimeout, MaxHeaderBytes: 16 << 10}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
