// SPDX-License-Identifier: MIT

package layers

// family is what sets the models of one architecture apart: what their metadata says, and which weights a layer has. What a layer computes
// follows from the weights it has (block.go) and from the configuration. A new family is a file with these two functions, and a line in
// [familyOf]; docs/models.md says how to prove it.
type family struct {
	config func(r *keyReader, c *Config)                // what the keys common to all do not say; c has those
	block  func(l *loader, c *Config, layer int) *block // in the order of loading
}

// familyOf returns the family of a general.architecture; nil of one that is not known.
func familyOf(arch string) *family {
	switch arch {
	case "llama":
		return &llama
	}
	return nil
}

// architectures are those that familyOf knows, for errors.
const architectures = "llama"
