// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"context"
	"os"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/otlp"
)

// dialTraced joins the swarm, and sends traces of generations to the OpenTelemetry receiver that the environment names, if it does. done sends
// what is left; call it when no generation runs any more.
func (o *swarmOptions) dialTraced(ctx context.Context, log *zap.Logger) (c *client.Client, done func(), err error) {
	url, err := otlp.Endpoint(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if err != nil {
		return nil, nil, &cmdline.UsageError{Err: err}
	}
	if url == "" || os.Getenv("OTEL_SDK_DISABLED") == "true" {
		c, err = o.dial(ctx)
		return c, func() {}, err
	}
	headers, err := otlp.Headers(os.Getenv("OTEL_EXPORTER_OTLP_HEADERS"))
	if err != nil {
		return nil, nil, &cmdline.UsageError{Err: err}
	}
	e := otlp.Start(otlp.Config{
		URL: url, Headers: headers, Service: cmp.Or(os.Getenv("OTEL_SERVICE_NAME"), "coordinator"), Version: cmdline.ShortVersion(), Log: log,
	})
	if c, err = o.dialWith(ctx, client.Config{Traced: e.Export}); err != nil {
		e.Close()
		return nil, nil, err
	}
	return c, e.Close, nil
}
