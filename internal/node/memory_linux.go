// SPDX-License-Identifier: MIT

package node

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// availableMemory is what the kernel could give this process without swapping (MemAvailable), or what is left to its control group if that
// is less. 0 where neither can be read.
func availableMemory() int64 {
	available := memAvailable()
	limit, errLimit := readBytes("/sys/fs/cgroup/memory.max") // "max" where there is none
	used, errUsed := readBytes("/sys/fs/cgroup/memory.current")
	if left := limit - used; errLimit == nil && errUsed == nil && left > 0 && (available == 0 || left < available) {
		return left
	}
	return available
}

func memAvailable() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

func readBytes(path string) (int64, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
}
