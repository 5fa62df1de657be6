// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/api"
	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// serveOptions are the flags of `coordinator serve`.
type serveOptions struct {
	swarm swarmOptions
	ends  endsOptions
	model string
	wire  string
	kv    string

	http    string
	keyFile string
	anyone  bool
	origins []string

	parallel       int
	queue          int
	queueTimeout   time.Duration
	requestTimeout time.Duration
	drainTimeout   time.Duration

	logLevel string
	logJSON  bool
}

func newServe() *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the swarm's models over HTTP, as the OpenAI API does",
		Long: `Serve the swarm's models over HTTP, as the OpenAI API does: /v1/chat/completions, /v1/completions and /v1/models, streaming
and not (docs/api.md). Point a client library at http://ADDR/v1, and a browser at http://ADDR for a page to chat on and to see the swarm.

Without --api-key-file whoever reaches ADDR may ask, so it must be an address of this machine alone, unless --allow-anyone says
otherwise. At Ctrl-C or SIGTERM what runs may go on for --drain-timeout; nothing new is taken.`,
		Example: `  coordinator serve
  coordinator serve --http 0.0.0.0:8080 --api-key-file keys
  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"messages": [{"role": "user", "content": "What is AI?"}]}'`,
		Args: exactArgs(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), o) },
	}
	o.swarm.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.http, "http", "127.0.0.1:8080", "where to listen: HOST:PORT, or PORT on 127.0.0.1")
	f.StringVar(&o.keyFile, "api-key-file", "", "file with the API keys that may ask, one a line, a name for its owner behind it if wanted")
	f.BoolVar(&o.anyone, "allow-anyone", false, "let everybody ask who reaches an address that others reach too")
	f.StringSliceVar(&o.origins, "cors-origin", nil, "origin of web pages that may ask, such as https://chat.example.org; repeatable")
	f.StringVar(&o.model, "model", "", "serve this model only, by name or ID prefix (default: all that the swarm has); with --local-ends, by its file")
	o.ends.register(f)
	f.StringVar(&o.wire, "wire", "f32", "element type of hidden states on the wire: f32 (exact) or f16 (half the bytes)")
	f.StringVar(&o.kv, "kv", "", "element type of the KV cache a route must have: f16 or f32 (default: what the nodes serve)")
	f.IntVar(&o.parallel, "parallel", 16, "generations at once; more wait")
	f.IntVar(&o.queue, "queue", 64, "requests of one key (without keys: one address) that may wait; more are refused with 429")
	f.DurationVar(&o.queueTimeout, "queue-timeout", 30*time.Second, "how long a request may wait before it is refused with 429")
	f.DurationVar(&o.requestTimeout, "request-timeout", 10*time.Minute, "how long a request may take, waiting included")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 20*time.Second, "how long what runs may go on once told to stop")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.BoolVar(&o.logJSON, "log-json", false, "log as JSON, one object a line")
	return cmd
}

// config checks the flags.
func (o *serveOptions) config() (cfg api.Config, addr string, err error) {
	addr = o.http
	if !strings.Contains(addr, ":") {
		addr = "127.0.0.1:" + addr
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return cfg, "", cmdline.Usagef("--http %q: want HOST:PORT or PORT", o.http)
	}
	if o.keyFile == "" && !o.anyone && !ownHost(host) {
		return cfg, "", cmdline.Usagef("--http %s is reached by others, and without keys anyone of them may ask: pass --api-key-file FILE, or --allow-anyone", o.http)
	}
	for _, v := range []struct {
		flag  string
		value time.Duration
	}{
		{"queue-timeout", o.queueTimeout}, {"request-timeout", o.requestTimeout}, {"drain-timeout", o.drainTimeout},
	} {
		if v.value <= 0 {
			return cfg, "", cmdline.Usagef("--%s %s: want a positive duration", v.flag, v.value)
		}
	}
	if o.parallel < 1 || o.queue < 1 {
		return cfg, "", cmdline.Usagef("--parallel %d, --queue %d: want 1 at least", o.parallel, o.queue)
	}
	for _, origin := range o.origins {
		if u, err := url.Parse(origin); err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin {
			return cfg, "", cmdline.Usagef("--cors-origin %q: want a scheme and a host, as in https://chat.example.org", origin)
		}
	}
	selector := client.Selector{Model: o.model}
	if selector.Wire, err = protocol.ParseDType(o.wire); err != nil {
		return cfg, "", cmdline.Usagef("--wire: %v", err)
	}
	if o.kv != "" {
		if selector.KV, err = protocol.ParseDType(o.kv); err != nil {
			return cfg, "", cmdline.Usagef("--kv: %v", err)
		}
	}
	cfg = api.Config{
		Selector: selector, Origins: o.origins, Parallel: o.parallel, QueueLength: o.queue, QueueTimeout: o.queueTimeout,
		RequestTimeout: o.requestTimeout, RouteTimeout: o.swarm.wait, DrainTimeout: o.drainTimeout,
	}
	if o.keyFile != "" {
		if cfg.Keys, err = api.ReadKeys(o.keyFile); err != nil {
			return cfg, "", err
		}
	}
	return cfg, addr, nil
}

// ownHost reports whether nobody but this machine reaches a host.
func ownHost(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func serve(ctx context.Context, o *serveOptions) error {
	cfg, addr, err := o.config()
	if err != nil {
		return err
	}
	if cfg.Log, err = cmdline.NewLogger(o.logLevel, o.logJSON); err != nil {
		return err
	}
	ends, err := o.ends.open(ctx, &cfg.Selector)
	if err != nil {
		return err
	}
	defer ends.Close()
	var sent func()
	if cfg.Client, sent, err = o.swarm.dialTraced(ctx, cfg.Log); err != nil {
		return err
	}
	defer sent()
	defer cfg.Client.Close()
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("--http: %w", err)
	}
	cfg.Log.Info("serving", zap.String("url", "http://"+l.Addr().String()+"/v1"), zap.Bool("keys", cfg.Keys != nil))
	err = api.New(cfg).Run(ctx, l)
	cfg.Log.Info("stopped")
	return err
}
