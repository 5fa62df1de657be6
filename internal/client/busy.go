// SPDX-License-Identifier: MIT

package client

import (
	"errors"

	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Busy reports whether an error of [Client.Find] or [Client.Generate] says that the nodes have no room now, so that the same request may
// succeed later.
func Busy(err error) bool {
	var none *placement.NoRouteError
	if errors.As(err, &none) {
		return none.Busy()
	}
	return errors.Is(err, &protocol.Error{Code: protocol.CodeBusy})
}
