// SPDX-License-Identifier: MIT

package p2p

import (
	"os"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// wantUDPBuffer is what quic-go asks the kernel for: 7 MiB, of which Linux counts half as its own bookkeeping.
const wantUDPBuffer = 7 << 20 / 2

// warnUDPBuffer says when Linux caps UDP buffers below what QUIC wants. It costs nothing for hidden states; bulk
// transfers may lose packets. Root is exempt from the cap.
func warnUDPBuffer(log *zap.Logger) {
	// quic-go would print its own warning through package log.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	limit, ok := udpBufferLimit("/proc/sys/net/core/rmem_max")
	if !ok || limit >= wantUDPBuffer || os.Geteuid() == 0 {
		return
	}
	log.Warn("small UDP receive buffer: large transfers may lose packets; "+
		"sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000 raises it", zap.Int("bytes", limit))
}

// UDPBuffers returns how large the kernel lets UDP buffers be, in bytes, and how large QUIC wants them; ok is false where that cannot be read.
// The limits do not hold for root.
func UDPBuffers() (receive, send, want int, ok bool) {
	receive, ok = udpBufferLimit("/proc/sys/net/core/rmem_max")
	send, sendOK := udpBufferLimit("/proc/sys/net/core/wmem_max")
	return receive, send, wantUDPBuffer, ok && sendOK
}

// udpBufferLimit reads a sysctl file; ok is false where there is none.
func udpBufferLimit(path string) (limit int, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	limit, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return limit, err == nil
}
