// SPDX-License-Identifier: MIT

// Package grammar holds an answer to a form while it is drawn. A [Grammar] is a context-free grammar over bytes and control tokens,
// written as text (docs/grammar.md); a [Matcher] follows the tokens of one answer and says which ones may come next: exactly those after
// which some text of the grammar can still be completed.
//
// What is allowed depends on the grammar, the vocabulary and the tokens so far, and on nothing else: a replacement node goes on where
// the lost one was. Grammars come from strangers, so their size, and the work for each token, are bounded. The package does no I/O. A
// Grammar and a [Vocab] do not change once made and may be shared; a Matcher belongs to one goroutine.
package grammar
