// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync/atomic"
)

// Busy are processes that do nothing but keep CPUs busy, as programs of others on a shared machine do.
type Busy struct {
	processes []*exec.Cmd
	stdins    []io.Closer
}

// StartBusy runs a command that calls [Spin] n times over and returns when all of them spin. They end with Close, and when this process
// does, however that comes about: a pipe to each breaks.
func StartBusy(n int, name string, args ...string) (*Busy, error) {
	b := &Busy{}
	for range n {
		if err := b.start(name, args); err != nil {
			return nil, errors.Join(fmt.Errorf("start a busy process: %w", err), b.Close())
		}
	}
	return b, nil
}

func (b *Busy) start(name string, args []string) error {
	cmd := exec.Command(name, args...) //nolint:noctx // its end is that of its stdin
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.processes, b.stdins = append(b.processes, cmd), append(b.stdins, stdin)
	if _, err := io.ReadFull(stdout, make([]byte, len(spinning))); err != nil {
		return fmt.Errorf("it does not spin: %w", err)
	}
	return nil
}

// Close ends the processes. An error says that one of them was not there to the end: what was measured meanwhile is of another machine
// than was thought.
func (b *Busy) Close() error {
	var errs []error
	for _, stdin := range b.stdins {
		errs = append(errs, stdin.Close())
	}
	for _, cmd := range b.processes {
		errs = append(errs, cmd.Wait())
	}
	b.processes, b.stdins = nil, nil
	return errors.Join(errs...)
}

const spinning = "spinning\n"

// Spin keeps one CPU busy until in ends, as it does when the process behind it is gone, or ctx is done, which is an error. It says on
// out when it begins.
func Spin(ctx context.Context, in io.Reader, out io.Writer) error {
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, in) // an error is an end as well
		over.Store(true)
	}()
	defer context.AfterFunc(ctx, func() { over.Store(true) })()
	if _, err := io.WriteString(out, spinning); err != nil {
		return err
	}
	for !over.Load() {
		continue // keep the processor busy
	}
	return ctx.Err()
}
