// SPDX-License-Identifier: MIT

// Package solver decides which devices should serve which layers of a model, and proves how good the decision is: [Solve] returns a plan,
// its cost, and a bound that no plan can beat. What a plan is judged by, and how costs come from speeds, memory and links, is written
// down in docs/placement.md; [Instance] has it all as data. [WriteLP] and [WriteMPS] put the same instance before other solvers.
//
// The route of a request through what is served already is package placement's business. Everything here is a pure function of its
// arguments: costs are integers, effort is counted in search nodes and not in time, and devices are ordered by name, so that equal
// instances give equal plans anywhere. Safe for concurrent use.
package solver
