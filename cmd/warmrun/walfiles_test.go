package main

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// makeWAL writes segments of 1 MB whose records are one chain: wal DIR NAME...
func makeWAL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: wal DIR NAME...")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	var names []walcore.SegmentName
	for _, arg := range args[1:] {
		name, err := walcore.ParseSegmentName(arg)
		ts.Check(err)
		names = append(names, name)
	}
	for i, content := range storetest.Chain(names, storetest.Switch) {
		ts.Check(os.WriteFile(filepath.Join(dir, string(names[i])), content, 0o644))
	}
}

// flip changes one bit: flip FILE OFFSET.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	content := []byte(ts.ReadFile(args[0]))
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	content[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), content, 0o644))
}
