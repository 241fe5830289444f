package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore/hint"
)

// copyOptions bend one copy: flags of the copy command, and the options of the
// operations that runbooks call.
type copyOptions struct {
	Checksum       bool     `json:"checksum" short:"c" help:"Compare every file by its content, not by size and time."`
	Delete         bool     `json:"delete" help:"Delete in the target what the source does not have."`
	DeleteExcluded bool     `json:"delete_excluded" help:"Delete what is excluded, too. It includes --delete."`
	Exclude        []string `json:"exclude" sep:"none" placeholder:"PATTERN" help:"Leave out what matches, here and there; may be repeated."`
	MaxRate        int64    `json:"max_rate" type:"size" placeholder:"SIZE" help:"The most bytes of content to send in a second, such as 20MB."`
	Compress       string   `json:"compress" placeholder:"none|s2" help:"How content is packed on the wire (default: none)."`
	Streams        int      `json:"streams" placeholder:"N" help:"How many streams copy at once (default: 4)."`
	InPlace        bool     `json:"in_place" name:"in-place" help:"Write into the files that are there instead of replacing them. A copy that is cut leaves half-written files."`
	DryRun         bool     `json:"dry_run" name:"dry-run" short:"n" help:"Change nothing, and say what a copy would do by sizes and times: with -v the names."`
	Live           bool     `json:"live" help:"The source is in use: go on when files change under way, and say which."`
}

// compressions are what Compress may say.
var compressions = []string{"none", "s2"}

// check is a usage error where the options cannot be meant.
func (o copyOptions) check() error {
	if o.Streams < 0 {
		return usageError{fmt.Errorf("%d streams cannot copy anything", o.Streams)}
	}
	if o.MaxRate < 0 {
		return usageError{fmt.Errorf("a rate of %d bytes a second cannot be kept", o.MaxRate)}
	}
	if o.Compress != "" && !slices.Contains(compressions, o.Compress) {
		return usageError{hint.Wrap(fmt.Errorf("compression %q is not known", o.Compress), "it must be %s", orList(compressions))}
	}
	if o.DryRun && o.Checksum {
		return usageError{hint.Wrap(errors.New("a dry run compares sizes and times, and no content"), "leave one out: --checksum or --dry-run")}
	}
	for _, pattern := range o.Exclude {
		if err := filesync.CheckPattern(pattern); err != nil {
			return usageError{fmt.Errorf("--exclude: %w", err)}
		}
	}
	return nil
}

// sync is what filesync makes of the options. The target's root may be a link:
// its name was typed.
func (o copyOptions) sync() filesync.Options {
	return filesync.Options{
		Checksum: o.Checksum, Delete: o.Delete || o.DeleteExcluded, DeleteExcluded: o.DeleteExcluded, Exclude: o.Exclude,
		MaxRate: o.MaxRate, Compress: o.Compress == "s2", Streams: o.Streams, InPlace: o.InPlace, FollowRoot: true,
		DryRun: o.DryRun,
	}
}

// orList is "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
