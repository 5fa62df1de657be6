// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/discovery"
)

// modelObject is a model in OpenAI's shape.
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"` // when this server started: models are not dated
	OwnedBy string `json:"owned_by"`
}

func (s *Server) object(m *discovery.Model) modelObject {
	return modelObject{ID: m.Name, Object: "model", Created: s.started.Unix(), OwnedBy: "shardnode"}
}

// listModels answers GET /v1/models: those whose layers are all served.
func (s *Server) listModels(w http.ResponseWriter, r *http.Request) {
	if _, err := s.known(""); err != nil {
		s.warmUp(r.Context(), "")
	}
	list := struct {
		Object string        `json:"object"`
		Data   []modelObject `json:"data"`
	}{Object: "list", Data: []modelObject{}}
	for _, m := range s.models() {
		if len(m.Missing) == 0 {
			list.Data = append(list.Data, s.object(&m))
		}
	}
	writeJSON(w, http.StatusOK, &list)
}

// getModel answers GET /v1/models/NAME.
func (s *Server) getModel(w http.ResponseWriter, r *http.Request) {
	m, err := s.lookup(r.Context(), r.PathValue("model"))
	if err != nil {
		describe(r.Context(), err).write(w)
		return
	}
	writeJSON(w, http.StatusOK, s.object(m))
}

// models lists what the swarm serves, as far as this server may serve it.
func (s *Server) models() []discovery.Model {
	var list []discovery.Model
	for _, m := range s.cfg.Client.View().Models {
		if s.cfg.Selector.Model == "" || named(&m, s.cfg.Selector.Model) {
			list = append(list, m)
		}
	}
	return list
}

// minIDPrefix is how much of a model's ID names it: as much as is shown to people.
const minIDPrefix = 8

// named reports whether a name is the model's: its own, or the beginning of its ID.
func named(m *discovery.Model, name string) bool {
	return m.Name == name || len(name) >= minIDPrefix && strings.HasPrefix(m.ID.String(), strings.ToLower(name))
}

// lookup finds the model of that name; "" is the only one there is.
func (s *Server) lookup(ctx context.Context, name string) (*discovery.Model, error) {
	m, err := s.known(name)
	if err != nil {
		s.warmUp(ctx, name)
		m, err = s.known(name)
	}
	return m, err
}

// settleTime is how long after the start a model may still turn up where another one is there already.
const settleTime = 2 * time.Second

// warmUp waits for a model to be found, where the server has just started and had no time to find it.
func (s *Server) warmUp(ctx context.Context, name string) {
	patience := s.cfg.RouteTimeout
	if _, err := s.known(""); err == nil {
		patience = min(patience, settleTime)
	}
	ctx, cancel := context.WithDeadline(ctx, s.started.Add(patience))
	defer cancel()
	selector := s.cfg.Selector
	if name != "" {
		selector.Model = name
	}
	if ctx.Err() == nil {
		_, _ = s.cfg.Client.Find(ctx, selector, nil) // what it finds is in the client's view
	}
}

// known is lookup without waiting.
func (s *Server) known(name string) (*discovery.Model, error) {
	var found []discovery.Model
	var names []string
	for _, m := range s.models() {
		if len(m.Missing) == 0 || named(&m, name) {
			names = append(names, fmt.Sprintf("%s (%s)", m.Name, m.ID.Short()))
		}
		if named(&m, name) || name == "" && len(m.Missing) == 0 {
			found = append(found, m)
		}
	}
	switch {
	case len(found) == 1:
		return &found[0], nil
	case len(found) > 1:
		return nil, invalid("model", "ambiguous_model", "model: several go by that name: %s; give the beginning of an ID", strings.Join(names, ", "))
	case len(names) == 0:
		return nil, noRoute(errors.New("no model is served now: no nodes were found that have all layers of one"))
	}
	e := invalid("model", "model_not_found", "The model %q does not exist here; there is %s", clip(name), strings.Join(names, ", "))
	e.status = http.StatusNotFound
	return nil, e
}

// model returns the tokenizer and template of a model that the swarm serves.
func (s *Server) model(ctx context.Context, m *discovery.Model) (*client.Model, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RouteTimeout)
	defer cancel()
	model, err := s.cfg.Client.ModelByID(ctx, m.ID)
	if err != nil {
		return nil, noRoute(fmt.Errorf("no node gave the model's vocabulary: %w", err))
	}
	return model, nil
}
