// SPDX-License-Identifier: MIT

// Package models embeds the demo model that both programs use when --model is not given. The bytes lie in the program
// file, so pages of layers that a node does not serve are never read. Safe for concurrent use.
package models

import _ "embed"

// DemoName is the demo model's file name.
const DemoName = "demo-32l-q4_0.gguf"

//go:embed demo-32l-q4_0.gguf
var demo []byte

// Demo returns the GGUF file of the demo model (32 layers, 26 M parameters; MODEL_CARD.md). Read-only by convention.
func Demo() []byte { return demo }
