// SPDX-License-Identifier: MIT

// Package layers is a model's forward pass over a range of its transformer layers: configuration from GGUF metadata, the range's weights, KV
// caches, and [Model.Forward]. The first range also embeds, the last also holds the final norm and the head. It knows no network and no
// sessions; package engine owns its models and caches. One Forward at a time per [Model]: the scratch memory is the model's.
package layers
