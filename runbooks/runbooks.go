// Package runbooks carries the shipped procedures: Lua texts, embedded in the
// binary, that a site can read, override or extend.
package runbooks

import "embed"

// Files holds NAME.lua for each runbook and lib/NAME.lua for what they require.
//
//go:embed *.lua lib/*.lua
var Files embed.FS
