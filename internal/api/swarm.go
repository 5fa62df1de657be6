// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/discovery"
)

// swarmView is what GET /api/swarm answers: the swarm as `coordinator swarm --json` has it, and this server.
type swarmView struct {
	*client.Summary
	Server serverView `json:"server"`
}

type serverView struct {
	Ready    bool   `json:"ready"`
	Reason   string `json:"reason,omitempty"` // why it is not
	Running  int    `json:"running"`          // generations
	Waiting  int    `json:"waiting"`
	Parallel int    `json:"parallel"` // that run at once at the most
}

// How often a viewer hears of the swarm.
const (
	viewLeast = 250 * time.Millisecond // between two views, however much changes
	viewMost  = 2 * time.Second        // without a change: the server's own load is in it
	maxViews  = 64                     // that are watched at once: each keeps a connection
)

// viewers are those who watch the swarm.
type viewers struct {
	places chan struct{}
	ended  chan struct{} // closed when the server shuts down
}

func newViewers() *viewers {
	return &viewers{places: make(chan struct{}, maxViews), ended: make(chan struct{})}
}

// end sends all viewers away: they would keep a server that shuts down waiting.
func (v *viewers) end() { close(v.ended) }

// swarm answers GET /api/swarm: once, or with an event for each change to those who want a stream.
func (s *Server) swarm(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		w.Header().Set("Cache-Control", "no-store")
		writeJSON(w, http.StatusOK, s.view())
		return
	}
	select {
	case s.viewers.places <- struct{}{}:
		defer func() { <-s.viewers.places }()
	default:
		e := &apiError{status: http.StatusTooManyRequests, kind: typeRateLimit, code: "too_many_viewers", message: "too many watch the swarm already", retry: 10 * time.Second}
		e.write(w)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	changed := make(chan struct{}, 1)
	var watch sync.WaitGroup
	watch.Go(func() {
		s.cfg.Client.Watch(ctx, func(*client.View) {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	})
	defer watch.Wait()
	defer cancel(nil)
	out := &events{w: w, control: http.NewResponseController(w), gone: cancel}
	out.begin()
	pause, most := time.NewTimer(0), time.NewTimer(viewMost)
	defer pause.Stop()
	defer most.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.viewers.ended:
			return
		case <-pause.C:
		}
		out.send(s.view())
		pause.Reset(viewLeast)
		most.Reset(viewMost)
		select {
		case <-ctx.Done():
			return
		case <-s.viewers.ended:
			return
		case <-changed:
		case <-most.C:
		}
	}
}

// view is the swarm now, as far as this server serves it.
func (s *Server) view() *swarmView {
	v := s.cfg.Client.View()
	if name := s.cfg.Selector.Model; name != "" {
		v.Models = slices.DeleteFunc(v.Models, func(m discovery.Model) bool { return !named(&m, name) })
		v.Nodes = slices.DeleteFunc(v.Nodes, func(n *discovery.Node) bool {
			return !slices.ContainsFunc(v.Models, func(m discovery.Model) bool { return m.ID == n.Status.Model })
		})
	}
	out := &swarmView{Summary: v.Summary(time.Now())}
	out.Server.Ready, out.Server.Reason = s.proofs.ready()
	out.Server.Running, out.Server.Waiting = s.queue.load()
	out.Server.Parallel = s.cfg.Parallel
	return out
}
