// SPDX-License-Identifier: MIT

//go:build amd64 && !linux && !purego

package kernel

// mayUseTiles: only Linux's rules for the tile registers of AMX are known to us.
func mayUseTiles() bool { return false }
