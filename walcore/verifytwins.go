package walcore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// checkTwins compares segments that are stored in more than one form: they were
// packed or unpacked by hand, and what is read is the plain one.
func (v *verification) checkTwins(ctx context.Context) error {
	first := map[string]ListedFile{} // of the packed segments, and their likes
	for _, file := range v.files {
		if file.Form.Packs() {
			first[file.Name] = ListedFile{}
		}
	}
	for _, file := range v.files {
		twin, packed := first[file.Name]
		switch {
		case !packed || !v.covers(v.tree.all[FileName(file.Name).Timeline()]):
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case twin.Name == "":
			first[file.Name] = file
		default:
			v.compareTwins(twin, file)
		}
	}
	return nil
}

func (v *verification) compareTwins(first, second ListedFile) {
	one, errOne := v.digestOf(first)
	two, errTwo := v.digestOf(second)
	err := errors.Join(errOne, errTwo)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		finding := v.unreadable(SegmentName(second.Name), err)
		finding.File, finding.Remedy = second.Stored(), fmt.Sprintf("it is there as %s, too: remove the one that is damaged", first.Stored())
		v.found(*finding)
	case one != two:
		v.found(Finding{FindingFrames, second.Stored(), SegmentName(second.Name).Start(v.tree.size),
			fmt.Sprintf("%s holds other bytes, and only that one is read", first.Stored()),
			"compare both with a copy in another archive, and remove the wrong one"})
	default:
		v.note(FindingOther, second.Stored(), "the same segment is there as %s: one of them can go", first.Stored())
	}
}

// digestOf is the hash of what one file holds, unpacked.
func (v *verification) digestOf(file ListedFile) ([32]byte, error) {
	f, err := os.Open(filepath.Join(v.archive.dir, file.Stored()))
	if err != nil {
		return [32]byte{}, err
	}
	plain, err := v.archive.plain(&storedFile{f, file.Form})
	if err != nil {
		return [32]byte{}, err
	}
	digest, _, err := DigestOf(plain)
	return digest, errors.Join(err, plain.Close())
}
