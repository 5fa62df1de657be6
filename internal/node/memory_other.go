// SPDX-License-Identifier: MIT

//go:build !linux

package node

// availableMemory is not known here: --memory says what a node may take.
func availableMemory() int64 { return 0 }
