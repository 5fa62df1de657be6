// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// put writes the routines that store a position's key and value, rounded to 16 bits or not. Neighbouring elements of a key lie 16
// numbers apart.
func put() {
	for _, size := range []int{2, 4} {
		name := fmt.Sprintf("putF%dAVX2", 8*size)
		TEXT(name, NOSPLIT, "func(k *byte, v *byte, key *float32, value *float32, dims int)")
		Pragma("noescape")
		Doc(fmt.Sprintf("%s stores a key and a value of %d bits, of dims elements each, a multiple of 8.", name, 8*size))
		arg := func(name string) Register { return Load(Param(name), GP64()) }
		k, v, key, value, left := arg("k"), arg("v"), arg("key"), arg("value"), arg("dims")
		to := func(i int) Mem { return Mem{Base: k, Disp: 16 * size * i} }
		Label("turn")
		x := YMM()
		VMOVUPS(Mem{Base: value}, x)
		if size == 2 {
			VCVTPS2PH(Imm(0), x, Mem{Base: v})
		} else {
			VMOVUPS(x, Mem{Base: v})
		}
		if size == 2 {
			y, half := YMM(), XMM()
			VMOVUPS(Mem{Base: key}, y)
			VCVTPS2PH(Imm(0), y, half)
			for i := range 8 {
				VPEXTRW(Imm(uint64(i)), half, to(i))
			}
		} else {
			for part := range 2 {
				four := XMM()
				VMOVUPS(Mem{Base: key, Disp: 16 * part}, four)
				VMOVSS(four, to(4*part))
				for i := 1; i < 4; i++ {
					VEXTRACTPS(Imm(uint64(i)), four, to(4*part+i))
				}
			}
		}
		ADDQ(U32(8*16*size), k)
		ADDQ(Imm(uint64(8*size)), v)
		ADDQ(Imm(32), key)
		ADDQ(Imm(32), value)
		SUBQ(Imm(8), left)
		JG(LabelRef("turn"))
		VZEROUPPER()
		RET()
	}
}
