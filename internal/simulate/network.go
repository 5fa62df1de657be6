// SPDX-License-Identifier: MIT

package simulate

import (
	"math/rand/v2"
	"time"
)

// site is a home or a lab: members there are on one LAN and share its link to the rest.
type site struct {
	continent, city int
	access          time.Duration // one way, to where its city meets
	rate            float64       // bytes a second of its link to the rest
}

const (
	cities     = 12 // of a continent
	continents = 4
	lanDelay   = 250 * time.Microsecond
	lanRate    = 125e6
	cityDelay  = time.Millisecond
)

// rates of sites' links, in bytes a second: 20 Mbit/s to 1 Gbit/s.
var rates = []float64{2.5e6, 6.25e6, 12.5e6, 125e6}

// newSites makes places for nodes, three to a place.
func newSites(r *rand.Rand, n Network, nodes int) []*site {
	if n == LAN {
		return []*site{{rate: lanRate}}
	}
	sites := make([]*site, max(2, nodes/3))
	for i := range sites {
		s := &site{city: r.IntN(cities), access: time.Millisecond + time.Duration(r.Int64N(int64(9*time.Millisecond))), rate: rates[r.IntN(len(rates))]}
		if n == World {
			s.continent = r.IntN(continents)
		}
		sites[i] = s
	}
	return sites
}

// oneWay is how long a packet takes from a to b.
func oneWay(a, b *site) time.Duration {
	switch {
	case a == b:
		return lanDelay
	case a.continent != b.continent:
		return a.access + b.access + between(a.continent, b.continent, 35*time.Millisecond, 100*time.Millisecond)
	case a.city != b.city:
		return a.access + b.access + between(a.city, b.city, 3*time.Millisecond, 20*time.Millisecond)
	}
	return a.access + b.access + cityDelay
}

// between is the distance of two different places, the same in both directions.
func between(a, b int, least, most time.Duration) time.Duration {
	return least + time.Duration(mix(uint64(min(a, b))<<8|uint64(max(a, b)))%uint64(most-least))
}

// transfer is how long a link is busy with so many bytes.
func transfer(a, b *site, bytes int) time.Duration {
	rate := float64(lanRate)
	if a != b {
		rate = min(a.rate, b.rate)
	}
	return time.Duration(float64(bytes) / rate * float64(time.Second))
}

// mix spreads a number over all 64 bits.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
