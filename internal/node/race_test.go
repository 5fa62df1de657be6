// SPDX-License-Identifier: MIT

//go:build race

package node

const raceDetector = true // cryptography is some ten times slower
