package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore/hint"
)

// copyOptions bend one copy: flags of the copy command, and the options of the
// operations that runbooks call.
type copyOptions struct {
	Checksum       bool                 `json:"checksum" short:"c" help:"Compare every file by its content, not by size and time."`
	Delete         bool                 `json:"delete" help:"Delete in the target what the source does not have."`
	DeleteExcluded bool                 `json:"delete_excluded" help:"Delete what is excluded, too. It includes --delete."`
	Include        []string             `json:"include" sep:"none" placeholder:"PATTERN" help:"Copy what matches although it is excluded; may be repeated."`
	Exclude        []string             `json:"exclude" sep:"none" placeholder:"PATTERN" help:"Leave out what matches, here and there; may be repeated."`
	MaxRate        int64                `json:"max_rate" type:"size" placeholder:"SIZE" help:"The most bytes of content to send in a second, such as 20MB."`
	Compress       filesync.Compression `json:"compress" placeholder:"none|s2|zstd" help:"How content is packed on the wire (default: s2)."`
	Streams        int                  `json:"streams" placeholder:"N" help:"How many streams copy at once (default: 4; to a node nearby, 2 or 3 on a machine of so few processors)."`
	InPlace        bool                 `json:"in_place" name:"in-place" help:"Write into the files that are there instead of replacing them. A copy that is cut leaves half-written files."`
	HardLinks      filesync.HardLinks   `json:"hard_links" name:"hard-links" placeholder:"refuse|keep" help:"What is done with a file that has several names (default: each becomes a file of its own)."`
	DryRun         bool                 `json:"dry_run" name:"dry-run" short:"n" help:"Change nothing, and say what a copy would do by sizes and times: with -v the names."`
	Live           bool                 `json:"live" help:"The source is in use: go on when files change under way, and say which."`
}

// check is a usage error where the options cannot be meant.
func (o copyOptions) check() error {
	if o.Streams < 0 {
		return usageError{fmt.Errorf("%d streams cannot copy anything", o.Streams)}
	}
	if o.MaxRate < 0 {
		return usageError{fmt.Errorf("a rate of %d bytes a second cannot be kept", o.MaxRate)}
	}
	if err := o.Compress.Check(); err != nil {
		return usageError{err}
	}
	switch o.HardLinks {
	case "", filesync.HardLinksRefuse, filesync.HardLinksKeep:
	default:
		return usageError{hint.Wrap(fmt.Errorf("hard links cannot be treated as %q", string(o.HardLinks)), "it must be refuse or keep")}
	}
	if o.DryRun && o.Checksum {
		return usageError{hint.Wrap(errors.New("a dry run compares sizes and times, and no content"), "leave one out: --checksum or --dry-run")}
	}
	return cmp.Or(checkPatterns("include", o.Include), checkPatterns("exclude", o.Exclude))
}

func checkPatterns(option string, patterns []string) error {
	for _, pattern := range patterns {
		if err := filesync.CheckPattern(pattern); err != nil {
			return usageError{fmt.Errorf("%s: %w", option, err)}
		}
	}
	return nil
}

// sync is what filesync makes of the options. The target's root may be a link:
// its name was typed.
func (o copyOptions) sync() filesync.Options {
	return filesync.Options{
		Checksum: o.Checksum, Delete: o.Delete || o.DeleteExcluded, DeleteExcluded: o.DeleteExcluded, Include: o.Include, Exclude: o.Exclude,
		MaxRate: o.MaxRate, Compress: o.Compress, Streams: o.Streams, InPlace: o.InPlace, HardLinks: o.HardLinks, FollowRoot: true,
		DryRun: o.DryRun,
	}
}
