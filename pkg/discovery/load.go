// SPDX-License-Identifier: MIT

package discovery

import (
	"math"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// Load is what the members of a swarm send each other to find one another, a second. Requests are those that a node answers, the mean over
// all nodes.
type Load struct {
	FindNode     float64 // of lookups that say where to put records
	Puts         float64 // PUT_VALUE and ADD_PROVIDER
	GetProviders float64 // of lookups for the swarm's nodes
	GetValue     float64 // of searches for the records of those that nobody knows, or that are gone
	Answers      float64 // bytes of the DHT's answers
	HotGets      float64 // GetProviders of each of the nodes closest to the swarm's name: all of them answer every lookup, with the whole swarm
	HotAnswers   float64 // bytes of the answers to these
	Questions    float64 // status requests, outside the DHT
}

// Requests is all that the DHT of a node answers.
func (l *Load) Requests() float64 { return l.FindNode + l.Puts + l.GetProviders + l.GetValue }

const (
	// peerBytes is what an answer has of each peer: ID, one address, frame.
	peerBytes = 57
	// recordBytes is a signed record, which the answer to PUT_VALUE repeats.
	recordBytes = 1026
)

// LoadOf is the model of a swarm of nodes, all of which serve the DHT and advertise, with lookers among them and beside them that keep a
// directory, where a share of the nodes leaves in an hour and as many come. Each node renews three records every 20 s, each with a lookup and a
// store at those closest to its key. Each looker asks all it knows for their status every 10 s, and looks for providers every 15 s; one that
// knows as many nodes as it keeps, only once one of them has gone. Of those that it does not know it searches the record: of a new one
// once, of one that is gone as long as it is still named.
func LoadOf(nodes, lookers int, leaves float64) Load {
	if nodes < 2 {
		return Load{}
	}
	others := nodes - 1
	lookup, stores := lookupRequests(others), float64(min(others, closest))
	rounds := recordsTold / (advertiseEvery + statusPoll/2).Seconds()
	share := float64(lookers) / float64(nodes)
	kept := float64(min(others, MaxKnown))
	gone := kept * leaves / time.Hour.Seconds() // of those that a looker knows, a second
	looks := 1 / LookupLooked.Seconds()
	again := providerValidity.Seconds() * looks // lookups that name one that is gone
	if others >= MaxKnown {
		looks, again = min(looks, gone), 0 // it searches no more than it has room for
	}
	answer := peerBytes * stores
	l := Load{
		FindNode: rounds * lookup, Puts: rounds * stores, GetProviders: share * looks * lookup, GetValue: share * gone * (1 + again) * lookup,
		HotGets: float64(lookers) * looks * min(1.4, lookup/stores), Questions: share * kept / RefreshLooked.Seconds(),
	}
	l.HotAnswers = l.HotGets * min(answer+peerBytes*float64(nodes), network.MessageSizeMax)
	l.Answers = (l.FindNode+l.GetValue)*answer + l.Puts/recordsTold*recordBytes + l.HotAnswers*stores/float64(nodes)
	return l
}

// recordsTold is how many a node advertises in each round.
const recordsTold = 3

// lookups is how many requests one takes where there are so many other nodes, with Kademlia's k = 20, ten requests under way at once and an
// end once the three closest peers have answered; what is under way then is asked again with the rest of the closest twenty. TestLookups
// has the process that gives these.
var lookups = []struct{ others, requests float64 }{
	{1, 1}, {3, 3}, {7, 8}, {10, 12}, {15, 19.7}, {20, 27.8}, {64, 28.5}, {100, 29.5}, {300, 33.5}, {1000, 36.3}, {3000, 38}, {10_000, 39.4},
}

// lookupRequests interpolates lookups.
func lookupRequests(others int) float64 {
	x := math.Log(float64(others))
	last := lookups[0]
	for _, p := range lookups[1:] {
		if at, from := math.Log(p.others), math.Log(last.others); x <= at {
			return last.requests + (p.requests-last.requests)*(x-from)/(at-from)
		}
		last = p
	}
	return last.requests
}
