// SPDX-License-Identifier: MIT

// Package inventory reads the YAML files that coordinator plan places a model from: machines, links, the model and what is asked of them.
// docs/placement.md documents the format. Every problem is reported with its line, all of them at once. It reads one file, and the
// header of a GGUF file if the inventory names one; it decides nothing.
package inventory

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Inventory is a file's content.
type Inventory struct {
	Instance solver.Instance
	Model    string                 // name of the model
	Today    []*protocol.LayerRange // per device: what it serves now, nil: nothing
}

// maxFile bounds a file: two thousand machines and their links.
const maxFile = 16 << 20

// Read reads the file at path.
func Read(path string) (*Inventory, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("%s: an inventory has at most %d bytes", path, maxFile)
	}
	return Parse(path, raw)
}

// Parse reads a file's content; name is what errors call it, and what the path of a GGUF file is relative to.
func Parse(name string, raw []byte) (*Inventory, error) {
	p := &parser{name: name, dir: filepath.Dir(name)}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Content) != 1 {
		return nil, fmt.Errorf("%s: it is empty; deploy/inventories has examples", name)
	}
	p.document(doc.Content[0])
	if p.errs != nil {
		return nil, errors.Join(p.errs...)
	}
	return &p.inv, nil
}
