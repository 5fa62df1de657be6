// SPDX-License-Identifier: MIT

package kernel

import "syscall"

// yield lets the operating system run another thread on this processor, if one waits. It takes half a microsecond: nothing the runtime's
// scheduler need know of.
func yield() { _, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
