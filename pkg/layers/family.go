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
	case "gemma2":
		return &gemma2
	case "gemma3":
		return &gemma3
	case "gpt-oss":
		return &gptoss
	case "llama":
		return &llama
	case "phi3":
		return &phi3
	case "qwen2":
		return &qwen2
	case "qwen3moe":
		return &qwen3moe
	case "qwen3":
		return &qwen3
	}
	return nil
}
