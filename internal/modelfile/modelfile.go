// SPDX-License-Identifier: MIT

// Package modelfile opens what --model names: a GGUF file, or the embedded demo model when nothing is named. Both command lines use
// it.
package modelfile

import (
	"path/filepath"
	"strings"

	"github.com/shardnode/shardnode/models"
	"github.com/shardnode/shardnode/pkg/gguf"
)

// Model is an open model file. Close it when nothing refers to its bytes any more.
type Model struct {
	Name string // for people: the file's name without its ending
	Path string // absolute; "" for the embedded model
	File *gguf.File
}

// Open maps the file at path, or the embedded demo model when path is empty.
func Open(path string) (*Model, error) {
	if path == "" {
		f, err := gguf.Parse(models.Demo())
		if err != nil {
			return nil, err
		}
		return &Model{Name: strings.TrimSuffix(models.DemoName, ".gguf"), File: f}, nil
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	return &Model{Name: strings.TrimSuffix(filepath.Base(path), ".gguf"), Path: abs, File: f}, nil
}

// Close unmaps the file.
func (m *Model) Close() { _ = m.File.Close() }
