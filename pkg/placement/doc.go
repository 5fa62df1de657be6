// SPDX-License-Identifier: MIT

// Package placement decides which nodes a request runs through: [Route] tiles a model's layers with the cheapest hops
// out of overlapping layer ranges. It does not look for nodes, open sessions or measure: package discovery's directory
// supplies the candidates, the coordinator uses the route. Everything here is a pure function of its arguments, with
// integer arithmetic only, so that equal inputs give equal routes anywhere; safe for concurrent use.
package placement
