// SPDX-License-Identifier: MIT

package main

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardnode/shardnode/internal/cmdline"
)

// newLogger returns the daemon's log on stderr: for people by default, one JSON object a line on request. Prompt text is never logged.
func newLogger(level string, asJSON bool) (*zap.Logger, error) {
	l, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, cmdline.Usagef("--log-level %q: want debug, info, warn or error", level)
	}
	cfg := zap.NewProductionConfig()
	cfg.Level = zap.NewAtomicLevelAt(l)
	cfg.DisableStacktrace = true
	cfg.DisableCaller = true
	cfg.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	cfg.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	if !asJSON {
		cfg.Encoding = "console"
		cfg.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
		cfg.EncoderConfig.ConsoleSeparator = "  "
	}
	return cfg.Build()
}
