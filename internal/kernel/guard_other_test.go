// SPDX-License-Identifier: MIT

//go:build !linux

package kernel

import (
	"slices"
	"testing"
)

func guarded[T any](_ testing.TB, n int) []T { return make([]T, n) }

func guardedCopy[T any](_ testing.TB, x []T) []T { return slices.Clone(x) }
