// SPDX-License-Identifier: MIT

// Package otlp sends the traces of generations to an OpenTelemetry receiver: OTLP over HTTP, JSON encoded, as its specification has it. It is
// small because a generation is traced when it is over: there are no spans to carry through the program. An [Exporter] is safe for concurrent use.
package otlp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/waterfall"
)

// Config says where traces go.
type Config struct {
	URL     string            // of the receiver's traces, such as http://127.0.0.1:4318/v1/traces
	Headers map[string]string // of each request
	Service string            // service.name
	Version string            // service.version
	Log     *zap.Logger       // nil: silent
}

const (
	queueLength = 256             // generations that wait to be sent; more are dropped, and counted
	sendLimit   = 5 * time.Second // that one request may take
	batchMost   = 32              // generations in one request
)

// Endpoint returns the URL of traces for what the environment variables OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and
// OTEL_EXPORTER_OTLP_ENDPOINT say, as OpenTelemetry's specification reads them; "" if both are empty.
func Endpoint(traces, base string) (string, error) {
	raw := cmp.Or(traces, base)
	if raw == "" {
		return "", nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT %q: want a URL such as http://127.0.0.1:4318", raw)
	}
	if traces == "" {
		raw = strings.TrimSuffix(raw, "/") + "/v1/traces"
	}
	return raw, nil
}

// Headers reads OTEL_EXPORTER_OTLP_HEADERS: key=value, separated by commas, values percent-encoded.
func Headers(s string) (map[string]string, error) {
	all := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: want key=value, separated by commas")
		}
		all[strings.TrimSpace(key)] = value
	}
	return all, nil
}

// Exporter sends generations, in the background.
type Exporter struct {
	// Constant after construction.
	cfg    Config
	client *http.Client
	queue  chan []span
	done   chan struct{} // closed when all that was queued is sent
	cancel context.CancelFunc

	dropped atomic.Int64
}

// Start returns an exporter that works until [Exporter.Close].
func Start(cfg Config) *Exporter {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Exporter{cfg: cfg, client: &http.Client{Timeout: sendLimit}, queue: make(chan []span, queueLength), done: make(chan struct{}), cancel: cancel}
	go e.run(ctx)
	return e
}

// Export queues a generation that began at that time, on this machine's clock. It never waits: a receiver that is slow costs traces, not
// tokens. It must not be called after Close.
func (e *Exporter) Export(d *waterfall.Document, begun time.Time, failure error) {
	select {
	case e.queue <- spans(d, begun, failure):
	default:
		if e.dropped.Add(1) == 1 {
			e.cfg.Log.Warn("traces are dropped: their receiver is slow", zap.String("url", e.cfg.URL))
		}
	}
}

// Close sends what is queued, for a few seconds at the most.
func (e *Exporter) Close() {
	close(e.queue)
	patience := time.NewTimer(sendLimit)
	defer patience.Stop()
	select {
	case <-e.done:
	case <-patience.C:
		e.cancel()
		<-e.done
	}
	e.cancel()
	e.client.CloseIdleConnections()
}

func (e *Exporter) run(ctx context.Context) {
	defer close(e.done)
	for first := range e.queue {
		batch := first
	more:
		for range batchMost - 1 {
			select {
			case next, ok := <-e.queue:
				if !ok {
					break more
				}
				batch = append(batch, next...)
			default:
				break more
			}
		}
		if err := e.send(ctx, batch); err != nil {
			e.cfg.Log.Warn("traces not sent", zap.String("url", e.cfg.URL), zap.Error(err))
		}
	}
}

// send posts spans.
func (e *Exporter) send(ctx context.Context, batch []span) error {
	body, err := json.Marshal(e.request(batch))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range e.cfg.Headers {
		req.Header.Set(k, v)
	}
	r, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(r.Body, 4<<10))
	if r.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", r.Status, strings.TrimSpace(string(answer)))
	}
	return nil
}
