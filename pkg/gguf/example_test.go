// SPDX-License-Identifier: MIT

package gguf_test

import (
	"fmt"

	"github.com/shardnode/shardnode/pkg/gguf"
)

func ExampleOpen() {
	f, err := gguf.Open("../../models/demo-32l-q4_0.gguf")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	layers, err := f.Meta.Uint("llama.block_count")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(layers, "layers")
	if t, ok := f.Tensor("blk.0.attn_q.weight"); ok {
		fmt.Println(t.Name, t.Type, t.Dims, len(f.Data(t)), "bytes")
	}
	// Output:
	// 32 layers
	// blk.0.attn_q.weight Q4_0 [256 256] 36864 bytes
}
