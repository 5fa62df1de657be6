// SPDX-License-Identifier: MIT

package grammar

// Language is the number of the grammar language that this package reads: docs/grammar.md.
const Language = 1

// Limits. A JSON schema of a thousand properties stays below them.
const (
	MaxSource = 64 << 10 // bytes of a grammar's text; protocol.MaxGrammar is the same

	maxRules  = 1 << 13
	maxStates = 1 << 16 // of all rules, repetitions written out
	maxEdges  = 1 << 18
	maxGroups = 64      // parentheses within each other
	maxRepeat = 1 << 13 // of {m,n}
	maxUntil  = 64      // bytes of ~"text"

	maxDepth   = 1 << 10 // rules within each other in a text, those not counted that nothing follows: what nests deeper cannot be drawn
	maxConfigs = 1 << 12 // ways to read a text so far
	maxWork    = 1 << 24 // configurations looked at for one token
	maxPlaces  = 1 << 10 // remembered by a matcher
	maxNodes   = 1 << 13
	maxMasks   = 1 << 5

	// MatcherBytes is what a matcher and its grammar take at the most, roughly: places of two KiB and more, nodes and states.
	MatcherBytes = 8 << 20
)
