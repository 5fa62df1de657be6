// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/cmdline"
)

// When a log tells of the progress of something long: first, and then again and again.
const (
	progressFirst = time.Second
	progressLine  = 10 * time.Second
)

// progress shows how far starting is: on a terminal by a line that is rewritten, otherwise by a line in the log now and then.
type progress struct {
	meter *cmdline.Meter // nil: no terminal
	log   *zap.Logger
}

func newProgress(f *os.File, log *zap.Logger) *progress {
	p := &progress{log: log}
	if cmdline.IsTerminal(f) {
		p.meter = cmdline.NewMeter(f)
	}
	return p
}

// of returns what tells of the progress of one thing, in bytes.
func (p *progress) of(what string) func(done, total int64) {
	var next time.Time // of the log, not before; zero until there is something to tell of
	return func(done, total int64) {
		percent := done * 100 / max(1, total)
		switch now := time.Now(); {
		case p.meter != nil && done < total:
			p.meter.Show("%s: %s of %s (%d %%)", what, cmdline.FormatBytes(done), cmdline.FormatBytes(total), percent)
		case p.meter != nil:
			p.meter.Clear()
		case next.IsZero():
			next = now.Add(progressFirst)
		case !now.Before(next):
			next = now.Add(progressLine)
			p.log.Info(what, zap.String("done", cmdline.FormatBytes(done)), zap.String("total", cmdline.FormatBytes(total)), zap.Int64("percent", percent))
		}
	}
}

// clear removes the line from the terminal.
func (p *progress) clear() {
	if p.meter != nil {
		p.meter.Clear()
	}
}
