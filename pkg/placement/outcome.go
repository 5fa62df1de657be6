// SPDX-License-Identifier: MIT

package placement

import (
	"errors"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// OutcomeOf says what an error tells of the node that it blames.
func OutcomeOf(err error) Outcome {
	var told *protocol.Error
	if !errors.As(err, &told) || told.Lost != "" {
		return OutcomeFailed
	}
	switch told.Code {
	case protocol.CodeBusy, protocol.CodeDraining, protocol.CodeTooLong:
		return OutcomeBusy
	case protocol.CodeWrongModel, protocol.CodeWrongNumerics, protocol.CodeForbidden, protocol.CodeBadFrame:
		return OutcomeUnfit
	}
	return OutcomeFailed
}
