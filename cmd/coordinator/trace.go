// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/waterfall"
)

// tracing is what --trace and --trace-json want.
type tracing struct {
	steps waterfall.Collector
	draw  bool
	file  *os.File // nil: no JSON, or closed
}

// newTracing creates the file now, so that a name that cannot be written costs no generation.
func newTracing(draw bool, path string) (*tracing, error) {
	t := &tracing{draw: draw}
	if path == "" {
		return t, nil
	}
	var err error
	if t.file, err = os.Create(path); err != nil {
		return nil, fmt.Errorf("--trace-json: %w", err)
	}
	return t, nil
}

// tripsTime bounds the questions for round trips at the end. Nodes that know their links answer at once; those that do not measure them.
const tripsTime = 10 * time.Second

// finish draws and writes what was measured.
func (t *tracing) finish(ctx context.Context, w io.Writer, c *client.Client, r *client.Result) error {
	ctx, cancel := context.WithTimeout(ctx, tripsTime)
	defer cancel()
	var trips [][]time.Duration
	for _, route := range t.steps.Routes() {
		trips = append(trips, c.Trips(ctx, r.Path, route))
	}
	d := t.steps.Document(waterfall.About{RequestID: r.RequestID, Model: r.Target.Name, Path: r.Path, Report: r.Report}, trips)
	if t.draw {
		fmt.Fprintln(w)
		if err := d.Draw(w); err != nil {
			return err
		}
	}
	if t.file == nil {
		return nil
	}
	e := json.NewEncoder(t.file)
	e.SetIndent("", " ")
	return errors.Join(e.Encode(d), t.Close())
}

// Close closes the file. It may be called twice.
func (t *tracing) Close() error {
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	t.file = nil
	return err
}
