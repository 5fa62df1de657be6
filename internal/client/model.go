// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shardnode/shardnode/internal/statedir"
	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// Model is what the coordinator knows of a model: its metadata and tokenizer, checked against the model's ID.
type Model struct {
	ID        protocol.ModelID
	Meta      *gguf.Metadata
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.ChatTemplate // nil: the model has none, or one that cannot be read

	templateErr error // of a template that cannot be read: told when it is needed
}

// Model returns the target's model, from memory, from the cache on disk, or from a node of the route. Whoever gave it, it hashes to the model's ID.
func (c *Client) Model(ctx context.Context, t *Target) (*Model, error) {
	known := func() *Model {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.models[t.Model.String()]
	}
	m := known()
	if m != nil {
		return m, nil
	}
	// A crowd that comes at once asks the nodes once.
	select {
	case c.fetching <- struct{}{}:
		defer func() { <-c.fetching }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if m = known(); m != nil {
		return m, nil
	}
	manifest, err := c.manifest(ctx, t.Model, t.Hops)
	if err != nil {
		return nil, fmt.Errorf("model %s (%s): %w", t.Name, t.Model.Short(), err)
	}
	if m, err = newModel(t.Model, manifest.Meta); err != nil {
		return nil, fmt.Errorf("model %s (%s): %w", t.Name, t.Model.Short(), err)
	}
	c.mu.Lock()
	c.models[t.Model.String()] = m
	c.mu.Unlock()
	return m, nil
}

// ModelByID returns a model that some node serves, whether or not there is a route through it now.
func (c *Client) ModelByID(ctx context.Context, id protocol.ModelID) (*Model, error) {
	t := &Target{Model: id}
	for _, n := range c.finder.Directory().Nodes() {
		if n.Status.Model == id {
			t.Name = n.Status.ModelName
			t.Hops = append(t.Hops, protocol.Hop{Peer: n.Status.Peer})
		}
	}
	return c.Model(ctx, t)
}

func newModel(id protocol.ModelID, meta *gguf.Metadata) (*Model, error) {
	m := &Model{ID: id, Meta: meta}
	var err error
	if m.Tokenizer, err = tokenizer.New(meta); err != nil {
		return nil, err
	}
	template, ok, err := m.Tokenizer.ChatTemplate()
	if ok {
		m.Template = template
	}
	m.templateErr = err
	return m, nil
}

// Manifest returns a model's manifest, from the cache on disk or from one of the nodes. Whoever gave it, it hashes to the model's ID.
func (c *Client) Manifest(ctx context.Context, model protocol.ModelID, nodes []*discovery.Node) (*gguf.Manifest, error) {
	var hops []protocol.Hop
	for _, n := range nodes {
		hops = append(hops, protocol.Hop{Peer: n.Status.Peer, Addrs: n.Status.Addrs, Layers: n.Status.Layers})
	}
	m, err := c.manifest(ctx, model, hops)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", model.Short(), err)
	}
	return m, nil
}

// manifest finds the model's manifest.
func (c *Client) manifest(ctx context.Context, model protocol.ModelID, hops []protocol.Hop) (*gguf.Manifest, error) {
	cached := ""
	if c.cfg.StateRoot != "" {
		cached = filepath.Join(c.cfg.StateRoot, "coordinator", "models", model.String())
		if raw, err := os.ReadFile(cached); err == nil && len(raw) <= protocol.MaxManifest {
			if m, err := gguf.ParseManifest(raw); err == nil && protocol.ModelID(m.ID()) == model {
				return m, nil
			}
		}
	}
	var errs []error
	for _, hop := range hops {
		id, err := peer.Decode(hop.Peer)
		if err != nil {
			return nil, err
		}
		raw, err := c.host.FetchManifest(ctx, id, model) // checks the hash
		if err != nil {
			errs = append(errs, fmt.Errorf("from %s: %w", hop.Peer, err))
			continue
		}
		m, err := gguf.ParseManifest(raw)
		if err != nil {
			return nil, err
		}
		if cached != "" {
			c.keep(cached, raw)
		}
		return m, nil
	}
	return nil, errors.Join(errs...)
}

// keep writes the manifest to the cache; without one the next run fetches it again.
func (c *Client) keep(path string, raw []byte) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return
	}
	_ = statedir.WriteFile(path, raw, 0o600)
}
