// SPDX-License-Identifier: MIT

//go:build !purego

package kernel

// pause tells the processor that this thread waits for another: it saves power, and leaves a shared core to the other thread. It takes
// some 10 to 50 ns.
func pause()
