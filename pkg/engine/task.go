// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// task is work on KV caches beside steps. The step loop owns the caches, so it runs there, between two steps, and must be short.
type task struct {
	run  func()
	done chan struct{} // closed when it has run, or never will
	ran  bool          // set before done is closed
}

// do runs f in the step loop and returns when it has. Where it returns an error, f has not run and will not.
func (e *Engine) do(ctx context.Context, f func()) error {
	t := &task{run: f, done: make(chan struct{})}
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		return errStopped()
	}
	e.tasks = append(e.tasks, t)
	e.mu.Unlock()
	e.notify()
	select {
	case <-t.done:
	case <-ctx.Done():
		e.mu.Lock()
		i := slices.Index(e.tasks, t)
		if i >= 0 {
			e.tasks = slices.Delete(e.tasks, i, i+1)
		}
		e.mu.Unlock()
		if i >= 0 {
			return context.Cause(ctx)
		}
		<-t.done // it is running
	}
	if !t.ran {
		return errStopped()
	}
	return nil
}

func errStopped() error {
	return protocol.Errorf(protocol.CodeDraining, "the node stops: choose another")
}

// runTask runs the task that has waited longest, and reports whether there was one.
func (e *Engine) runTask() bool {
	e.mu.Lock()
	if len(e.tasks) == 0 {
		e.mu.Unlock()
		return false
	}
	t := e.tasks[0]
	e.tasks = slices.Delete(e.tasks, 0, 1)
	e.mu.Unlock()
	t.run()
	t.ran = true
	close(t.done)
	return true
}

// giveBack ends what began with k being lent: it is freed if its session ended meanwhile. e.mu is held.
func (e *Engine) giveBack(k *kv) {
	k.lent = false
	if k.owner == nil {
		e.release(k)
	}
}

// dropTasks ends the tasks that nobody will run. e.mu is held.
func (e *Engine) dropTasks() {
	for _, t := range e.tasks {
		close(t.done)
	}
	e.tasks = nil
}
