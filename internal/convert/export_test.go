// SPDX-License-Identifier: MIT

package convert

// FileTypes are all recipes.
var FileTypes = fileTypes
