// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// The canary is a token that goes through a model's whole route and comes back, or a generation of somebody's that does.
const (
	canaryEvery = 10 * time.Second // without a generation in between
	canaryRetry = time.Second      // after one that failed
	canaryLimit = 10 * time.Second // that one may take

	// proofLasts is how long a proof is believed: until the next canary must have come back.
	proofLasts = canaryEvery + canaryLimit
)

// proofs says which models are known to generate, by a token that they gave.
type proofs struct {
	mu    sync.Mutex // guards all following fields
	times map[protocol.ModelID]time.Time
	last  error // of the latest canary that failed; nil: the latest came back
	ended bool  // the server is shutting down
}

// note keeps that a model has generated.
func (p *proofs) note(m protocol.ModelID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.times == nil {
		p.times = map[protocol.ModelID]time.Time{}
	}
	p.times[m], p.last = time.Now(), nil
}

// fail keeps that a canary did not come back. What was known of the model is void: its route is broken now.
func (p *proofs) fail(m protocol.ModelID, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.times, m)
	p.last = err
}

// due reports whether a model needs a canary.
func (p *proofs) due(m protocol.ModelID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.times[m]) >= canaryEvery
}

// ready reports whether some model generates, and if not, why.
func (p *proofs) ready() (ok bool, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for m, t := range p.times {
		if time.Since(t) > proofLasts {
			delete(p.times, m)
		}
	}
	switch {
	case p.ended:
		return false, errShutdown.Error()
	case len(p.times) > 0:
		return true, ""
	case p.last != nil:
		return false, p.last.Error()
	}
	return false, "no token has come back yet"
}

// end makes the server not ready for good.
func (p *proofs) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// watch sends canaries until ctx ends.
func (s *Server) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for _, m := range s.models() {
			switch {
			case len(m.Missing) > 0:
				s.proofs.fail(m.ID, fmt.Errorf("nobody serves layers %s of %s", m.Missing[0], m.Name))
			case s.proofs.due(m.ID):
				s.canary(ctx, &m)
			}
		}
		s.ways.refresh(ctx, s.cfg.Client)
		timer.Reset(canaryRetry)
	}
}

// canary has a model generate a token. A swarm that is busy proves nothing, and refutes nothing: others' tokens go through it.
func (s *Server) canary(ctx context.Context, m *discovery.Model) {
	limited, cancel := context.WithTimeout(ctx, canaryLimit)
	defer cancel()
	err := s.tryModel(limited, m)
	switch {
	case ctx.Err() != nil: // the server ends
		return
	case err == nil:
		s.proofs.note(m.ID)
	case !client.Busy(err):
		if ok, _ := s.proofs.ready(); ok {
			s.cfg.Log.Warn("the canary did not come back: not ready", zap.String("model", m.Name), zap.Error(err))
		}
		s.proofs.fail(m.ID, err)
	}
	s.metrics.canary(err)
}

// tryModel generates one token through a route, without waiting for lost layers.
func (s *Server) tryModel(ctx context.Context, m *discovery.Model) error {
	selector := s.cfg.Selector
	selector.Model = m.ID.String()
	target, err := s.cfg.Client.Find(ctx, selector, nil)
	if err != nil {
		return err
	}
	model, err := s.cfg.Client.Model(ctx, target)
	if err != nil {
		return err
	}
	_, err = s.cfg.Client.Generate(ctx, target, model, &client.Request{Tokens: []protocol.TokenID{0}, MaxTokens: 1, FailFast: true, Unseen: true}, client.Observer{})
	return err
}

// healthz answers GET /healthz: the process lives.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz answers GET /readyz: a token went through the whole route of a model, lately.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if ok, why := s.proofs.ready(); !ok {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": why})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
