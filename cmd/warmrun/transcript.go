package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// transcript keeps what a run prints beside its journal, without colours. It is
// there to be read: a disk that cannot take it fails no run.
type transcript struct {
	f       *os.File
	colours *regexp.Regexp
}

// transcript adds to the run's file "output" all that is written to out.
func (r *recorder) transcript(out io.Writer) (both io.Writer, end func()) {
	f, err := os.OpenFile(filepath.Join(runDir(r.s.site, r.id), "output"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return out, func() {}
	}
	return io.MultiWriter(transcript{f, regexp.MustCompile("\x1b\\[[0-9;]*m")}, out), func() { _ = f.Close() } // nothing of it must last
}

func (t transcript) Write(p []byte) (int, error) {
	_, _ = t.f.Write(t.colours.ReplaceAll(p, nil))
	return len(p), nil
}
