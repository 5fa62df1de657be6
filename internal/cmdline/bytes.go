// SPDX-License-Identifier: MIT

package cmdline

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ByteSize is a flag value such as 512MiB, 2GiB or 1073741824.
type ByteSize int64

var units = []struct {
	suffix string
	size   float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// Set parses the value.
func (b *ByteSize) Set(s string) error {
	number, size := strings.TrimSpace(s), 1.0
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.suffix); ok {
			number, size = strings.TrimSpace(n), u.size
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || v*size >= math.MaxInt64 || math.IsNaN(v) {
		return fmt.Errorf("%q is not a size: write for example 512MiB or 2GiB", s)
	}
	*b = ByteSize(v * size)
	return nil
}

// String returns the size in the largest binary unit that keeps it readable.
func (b ByteSize) String() string {
	for _, u := range []int{3, 2, 1, 0} {
		if float64(b) >= units[u].size {
			return strconv.FormatFloat(float64(b)/units[u].size, 'f', -1, 64) + units[u].suffix
		}
	}
	if b == 0 {
		return "0"
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Type names the value in usage texts.
func (*ByteSize) Type() string { return "size" }

// FormatBytes writes a byte count for people, with one decimal.
func FormatBytes(n int64) string {
	for _, u := range []int{3, 2, 1, 0} {
		if float64(n) >= units[u].size {
			return fmt.Sprintf("%.1f %s", float64(n)/units[u].size, units[u].suffix)
		}
	}
	return fmt.Sprintf("%d B", n)
}
