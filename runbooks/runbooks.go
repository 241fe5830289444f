// Package runbooks carries the shipped procedures: Lua texts, embedded in the
// binary, that a site can read, override or extend.
package runbooks

import "embed"

// Files holds NAME.lua for each runbook and lib/NAME.lua for what they require.
//
//go:embed *.lua lib/*.lua
var Files embed.FS

// Examples holds, below examples/, what a site may copy: runbooks as NAME.lua,
// extensions as RUNBOOK.d/NAME.lua. The first line of each says what it is for.
//
//go:embed examples
var Examples embed.FS
