// SPDX-License-Identifier: MIT

//go:build !race

package node

const raceDetector = false
