// SPDX-License-Identifier: MIT

package terminal

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"github.com/shardnode/shardnode/internal/statedir"
)

// Limits of the history of entered lines.
const (
	maxHistory     = 500
	maxHistoryLine = 4 << 10 // bytes; a longer one is remembered for this run only
)

// history is the lines that were entered, the oldest first. It outlives the program in a file that only the user can read; where that cannot
// be written, it does not, which is no reason to complain.
type history struct {
	path string // "": none
	list []string
}

func openHistory(path string) *history {
	h := &history{path: path}
	if path == "" {
		return h
	}
	file, err := os.Open(h.path)
	if err != nil {
		return h
	}
	defer file.Close()
	read := 0
	for s := bufio.NewScanner(file); s.Scan(); read++ {
		h.list = append(h.list, s.Text())
		h.list = h.list[max(0, len(h.list)-maxHistory):]
	}
	if read > 2*maxHistory {
		_ = statedir.WriteFile(h.path, []byte(strings.Join(h.list, "\n")+"\n"), 0o600)
	}
	return h
}

// Add is called for each line that was entered.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.list) > 0 && h.list[len(h.list)-1] == line {
		return
	}
	h.list = append(h.list, line)
	h.list = h.list[max(0, len(h.list)-maxHistory):]
	if h.path == "" || len(line) > maxHistoryLine || os.MkdirAll(filepath.Dir(h.path), 0o700) != nil {
		return
	}
	file, err := os.OpenFile(h.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = file.WriteString(line + "\n")
}

// Len is how many there are.
func (h *history) Len() int { return len(h.list) }

// At returns one, 0 for the latest.
func (h *history) At(i int) string { return h.list[len(h.list)-1-i] }
