// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/shardnode/shardnode/internal/cmdline"
)

// answer writes the text to stdout as it comes. When nobody reads it any more, as after `| head -1`, it ends the generation;
// the process lives on until the nodes have been told.
type answer struct {
	w      io.Writer
	cancel context.CancelCauseFunc // of the generation
	begun  bool
	err    error // of the first write that failed
}

func newAnswer(w io.Writer, cancel context.CancelCauseFunc) *answer {
	signal.Ignore(syscall.SIGPIPE)
	return &answer{w: w, cancel: cancel}
}

func (a *answer) text(s string) {
	if a.err != nil {
		return
	}
	a.begun = true
	if _, a.err = io.WriteString(a.w, s); a.err != nil {
		a.cancel(a.err)
	}
}

// end completes the last line and returns how the generation ended: err, unless writing failed first.
func (a *answer) end(err error) error {
	if a.err == nil && (a.begun || err == nil) {
		_, a.err = fmt.Fprintln(a.w)
	}
	switch {
	case errors.Is(a.err, syscall.EPIPE):
		return cmdline.Silent(a.err) // whoever closed the pipe has read enough
	case a.err != nil:
		return fmt.Errorf("write the answer: %w", a.err)
	}
	return err
}
