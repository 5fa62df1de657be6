// SPDX-License-Identifier: MIT

//go:build !amd64 || purego

package kernel

// pause lets about as much time pass as the instruction of that name.
func pause() {
	for range 32 {
		continue // nothing to do
	}
}
