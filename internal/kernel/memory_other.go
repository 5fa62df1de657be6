// SPDX-License-Identifier: MIT

//go:build !linux

package kernel

func mapMemory(n int, _ bool) ([]byte, error) { return make([]byte, n), nil }

func unmapMemory([]byte) error { return nil }
