// SPDX-License-Identifier: MIT

package bench

import (
	"time"

	"github.com/shardnode/shardnode/internal/kernel"
)

const (
	// limitBytes is what is read in one pass: far more than any processor's caches hold.
	limitBytes = 512 << 20
	// limitTime is how long reading goes on, at least: about as long as some tokens of a large model take.
	limitTime = 250 * time.Millisecond
)

// Limit measures how fast this machine reads memory, without computing: a decode step reads all weights, so no decode is faster. It
// belongs to one goroutine.
type Limit struct {
	pool   *kernel.Pool
	stream *kernel.Stream
}

// NewLimit reserves the memory to be read, by that many threads.
func NewLimit(threads int) (*Limit, error) {
	l := &Limit{pool: kernel.NewPool(threads)}
	var err error
	if l.stream, err = l.pool.NewStream(limitBytes); err != nil {
		l.pool.Close()
		return nil, err
	}
	return l, nil
}

// Close ends the threads and frees the memory.
func (l *Limit) Close() {
	l.pool.Close()
	_ = l.stream.Close() // unmapping what was mapped cannot fail, and nothing could be done
}

// Run measures once, in bytes a second.
func (l *Limit) Run() float64 {
	l.stream.Read() // wakes the threads
	start, read := time.Now(), 0
	for time.Since(start) < limitTime {
		l.stream.Read()
		read += l.stream.Bytes()
	}
	return float64(read) / time.Since(start).Seconds()
}
