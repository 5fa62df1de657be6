// SPDX-License-Identifier: MIT

//go:build race

package discovery

const raceDetector = true // cryptography is some ten times slower
