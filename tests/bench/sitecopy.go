package main

import (
	"cmp"
	"path/filepath"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// baseRunbook is the middle of copyToStandby: the copy itself, without what
// comes before and after it to make a standby.
const baseRunbook = `return runbook {
  api = 1,
  name = "takeBase",
  summary = "Take a base copy, and nothing else",
  runs_on = "any",
  lock = "none",
  params = { compress = param.string { default = "", help = "how it is packed on the wire" } },
  steps = {
    step { "copy", timeout = "1h", run = function(c)
      return copy.base(c.node, { to = "b", fast = true, compress = c.params.compress })
    end },
  },
}
`

// copySite is a site from which trees and base copies go to b. pgdata is a's,
// target is b's data directory.
func (b *bench) copySite(l *link, dir, pgdata, target string) (*site, error) {
	s, err := b.siteOver(l, dir, pgdata, target, "")
	if err != nil {
		return nil, err
	}
	return s, write(filepath.Join(s.homeA, "global", "runbooks", "takeBase.lua"), baseRunbook, 0o600)
}

// base copies a's server.
func (s *site) base(target string, compress filesync.Compression) *transfer {
	return s.transfer(target, compress, "takeBase")
}

// copy copies the content of a directory.
func (s *site) copy(source, target string) *transfer {
	return s.transfer(target, "", "copy", "--no-progress", source+"/", "b:"+target)
}

// usualCompress is what copies are packed with where nothing is said.
const usualCompress = filesync.CompressS2

// transfer is warmrun's. With an empty compress nothing is said, and it is the
// contestant that the others are compared with.
func (s *site) transfer(target string, compress filesync.Compression, words ...string) *transfer {
	who := us
	if compress != "" {
		who += ", " + string(compress)
		words = append(words, "--compress", string(compress))
	}
	x := newTransfer(who, s.link, target, append([]string{s.binary, "--home", s.homeA}, words...)...)
	x.fsync, x.far, x.compress = "file, dir", filepath.Join(s.homeB, "bin", "warmrun"), "none"
	if compress != filesync.CompressNone {
		x.compress = "wire " + string(cmp.Or(compress, usualCompress))
	}
	return x
}
