// SPDX-License-Identifier: MIT

//go:build !race

package discovery

const raceDetector = false
