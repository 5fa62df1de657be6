// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/page"
)

// Config of a [Server].
type Config struct {
	Client   *client.Client
	Selector client.Selector // which models are served, by name or ID prefix, and with which arithmetic
	Keys     *Keys           // nil: anyone may ask
	Origins  []string        // of web pages that may ask, such as https://chat.example.org; none: no page of another origin

	Parallel     int           // generations at once; 0: 16
	QueueLength  int           // requests that wait for each user; 0: 64. Four times as many wait together
	QueueTimeout time.Duration // how long one may wait; 0: 30 s

	RequestTimeout time.Duration // from the request to its last token; 0: 10 min
	RouteTimeout   time.Duration // how long to look for nodes that serve a model; 0: 10 s
	DrainTimeout   time.Duration // how long what runs may go on once the server is told to end; 0: 20 s
	MaxBody        int64         // bytes of a request's body; 0: 4 MiB

	Log *zap.Logger // nil: silent
}

func (c *Config) setDefaults() {
	setDefault(&c.Parallel, 16)
	setDefault(&c.QueueLength, 64)
	setDefault(&c.QueueTimeout, 30*time.Second)
	setDefault(&c.RequestTimeout, 10*time.Minute)
	setDefault(&c.RouteTimeout, 10*time.Second)
	setDefault(&c.DrainTimeout, 20*time.Second)
	setDefault(&c.MaxBody, 4<<20)
	c.MaxBody = min(c.MaxBody, maxMaxBody)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Server answers HTTP requests with what the swarm generates.
type Server struct {
	cfg     Config
	queue   *queue
	proofs  *proofs
	metrics *metrics
	ways    ways
	recent  *recent
	viewers *viewers
	started time.Time
	handler http.Handler
}

// New returns a server. It does nothing before its [Server.Run], but for answering through its [Server.Handler].
func New(cfg Config) *Server {
	cfg.setDefaults()
	s := &Server{cfg: cfg, started: time.Now(), queue: newQueue(cfg.Parallel, cfg.QueueLength, 4*cfg.QueueLength), proofs: &proofs{}, recent: &recent{}, viewers: newViewers()}
	s.metrics = newMetrics(s.queue, s.proofs, cfg.Client.Collector("coordinator"))
	s.handler = s.routes()
	return s
}

// routes names the endpoints.
func (s *Server) routes() http.Handler {
	closed, open := http.NewServeMux(), http.NewServeMux()
	for pattern, answer := range map[string]http.HandlerFunc{
		"GET /v1/models": s.listModels, "GET /v1/models/{model...}": s.getModel,
		"POST /v1/chat/completions": s.chat, "POST /v1/completions": s.complete,
	} {
		_, path, _ := strings.Cut(pattern, " ")
		closed.HandleFunc(pattern, s.metrics.counted(path, answer))
	}
	closed.Handle("GET /metrics", s.metrics.handler())
	closed.HandleFunc("GET /api/swarm", s.swarm)
	closed.HandleFunc("GET /api/requests/{id}", s.request)
	open.HandleFunc("GET /healthz", s.healthz)
	open.HandleFunc("GET /readyz", s.readyz)
	files := page.Handler()
	open.Handle("GET /{$}", files)
	open.Handle("GET /page/", files)
	open.Handle("/", s.admit(withErrors(closed)))
	return s.guard(open)
}

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.handler }

// Limits of a connection. Bodies have the request's own.
const (
	maxHeader     = 64 << 10
	headerTimeout = 10 * time.Second
	bodyTimeout   = time.Minute // to send a request's body
	idleTimeout   = 2 * time.Minute
	writeTimeout  = 30 * time.Second // for a client to take one piece of an answer
)

// Run serves l until ctx ends. Then it takes nothing new, lets what runs go on for the drain timeout at the most, and returns when all of it has ended.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	base, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(errShutdown)
	server := &http.Server{
		Handler: s.handler, BaseContext: func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: zap.NewStdLog(s.cfg.Log.Named("http")),
	}
	var watch sync.WaitGroup
	watching, unwatch := context.WithCancel(ctx)
	watch.Go(func() { s.watch(watching) })
	defer watch.Wait()
	defer unwatch()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.cfg.Log.Info("shutting down: what runs may end", zap.Duration("within", s.cfg.DrainTimeout))
	s.proofs.end()
	s.viewers.end()
	s.queue.Close()
	patience, cancel := context.WithTimeout(base, s.cfg.DrainTimeout)
	defer cancel()
	err := server.Shutdown(patience)
	if errors.Is(err, context.DeadlineExceeded) {
		end(errShutdown) // what still runs is told so, and frees its memory on the nodes
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), headerTimeout)
		defer cancel()
		err = server.Shutdown(patience)
	}
	return errors.Join(err, ignoreClosed(<-failed))
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
