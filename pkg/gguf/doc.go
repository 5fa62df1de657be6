// SPDX-License-Identifier: MIT

// Package gguf reads and writes GGUF v2 and v3 files: metadata, tensor directory, memory-mapped tensor data, and the
// manifest whose SHA-256 is the model's ID. It knows nothing of layers or arithmetic. Every count, length and offset
// of a file is checked against the file's size before memory is allocated for it. A [File] is read-only and safe for
// concurrent use.
//
// Source: the GGUF specification (ggml, docs/gguf.md).
package gguf
