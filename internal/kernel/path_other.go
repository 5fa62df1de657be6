// SPDX-License-Identifier: MIT

//go:build !amd64 || purego

package kernel

import "github.com/shardnode/shardnode/internal/quant"

func supported() []path { return []path{generic} }

func fetchAhead() int { return 0 }

func tilesOf(path, quant.Type) *tiles { return nil }

func opsOf(path) *ops { return nil }

func readOf(path) readFunc { return nil }
