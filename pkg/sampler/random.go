// SPDX-License-Identifier: MIT

package sampler

import "math/bits"

// uniform returns the draw for a position: a float64 in [0,1) from the first 53 of the 64 bits that Philox4x32-10
// gives for key seed and counter (position, 0, 0, 0). It depends on nothing else, so a draw can be repeated by any
// node in any order.
func uniform(seed uint64, position uint32) float64 {
	r := philox([4]uint32{position}, [2]uint32{uint32(seed), uint32(seed >> 32)})
	return float64((uint64(r[1])<<32|uint64(r[0]))>>11) * (1.0 / (1 << 53))
}

// Constants of Philox4x32 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011).
const (
	philoxM0 = 0xd2511f53
	philoxM1 = 0xcd9e8d57
	philoxW0 = 0x9e3779b9 // golden ratio
	philoxW1 = 0xbb67ae85 // sqrt(3)-1
)

// philox is Philox4x32 with ten rounds.
func philox(ctr [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		hi0, lo0 := bits.Mul32(philoxM0, ctr[0])
		hi1, lo1 := bits.Mul32(philoxM1, ctr[2])
		ctr = [4]uint32{hi1 ^ ctr[1] ^ key[0], lo1, hi0 ^ ctr[3] ^ key[1], lo0}
		key[0] += philoxW0
		key[1] += philoxW1
	}
	return ctr
}
