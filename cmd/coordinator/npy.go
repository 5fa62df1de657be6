// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// npyWriter writes float32 rows as a NumPy array of shape [rows][cols] (NEP 1, format version 1.0). The number of rows is filled
// in by Close, in a header of fixed length.
type npyWriter struct {
	f    *os.File
	w    *bufio.Writer
	cols int
	n    int // bytes of rows written
	err  error
}

// npyHeader is the header's length with magic and length field: a multiple of 64, as the format asks.
const npyHeader = 128

func createNPY(path string, cols int) (*npyWriter, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("logits: %w", err)
	}
	n := &npyWriter{f: f, w: bufio.NewWriter(f), cols: cols}
	_, n.err = n.w.Write(n.header())
	return n, nil
}

func (n *npyWriter) header() []byte {
	rows := n.n / (4 * n.cols)
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, n.cols)
	const fixed = 10 // magic, version, header length
	dict += strings.Repeat(" ", npyHeader-fixed-len(dict)-1) + "\n"
	return append([]byte("\x93NUMPY\x01\x00"+string([]byte{npyHeader - fixed, 0})), dict...)
}

// Append adds rows, little-endian float32. The first error is kept for Close.
func (n *npyWriter) Append(rows []byte) {
	if n.err == nil {
		_, n.err = n.w.Write(rows)
		n.n += len(rows)
	}
}

// Close completes the file. Closing twice is fine.
func (n *npyWriter) Close() error {
	if n.f == nil {
		return nil
	}
	if n.err == nil {
		n.err = n.w.Flush()
	}
	if n.err == nil {
		_, n.err = n.f.WriteAt(n.header(), 0)
	}
	if err := n.f.Close(); n.err == nil {
		n.err = err
	}
	n.f = nil
	if n.err != nil {
		return fmt.Errorf("logits: %w", n.err)
	}
	return nil
}
