package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/warmrun/warmrun/walcore/hint"
)

// failure codes on the wire. An error keeps, across the wire, the kind that
// callers test for.
type failureCode uint64

const (
	failOther failureCode = iota
	failNotExist
	failExist
	failPermission
	failNoSpace
	failLocked
	failVersion
	failProtocol
	failBasis
	failQuota
	failFlush
	failEnded
)

// ErrLocked is in the chain of the error when another copy into the same root
// is under way.
var ErrLocked = errors.New("another copy into this directory is under way")

// errVersion is in the chain when the two sides speak no common version.
var errVersion = errors.New("the two sides are of different versions")

var failureKinds = []struct {
	code failureCode
	err  error
}{
	{failNotExist, fs.ErrNotExist},
	{failExist, fs.ErrExist},
	{failPermission, fs.ErrPermission},
	{failNoSpace, syscall.ENOSPC},
	{failLocked, ErrLocked},
	{failVersion, errVersion},
	{failProtocol, errProtocol},
	{failBasis, errBasisChanged},
	{failQuota, syscall.EDQUOT},
	{failFlush, errFlush}, // where there is no better reason
	{failEnded, errCopyEnded},
}

// remoteError is an error that the other side reported.
type remoteError struct {
	code    failureCode
	message string
}

func (e *remoteError) Error() string { return e.message }

func (e *remoteError) Unwrap() error {
	for _, k := range failureKinds {
		if k.code == e.code {
			return k.err
		}
	}
	return nil
}

func encodeFailure(err error) []byte {
	code := failOther
	for _, k := range failureKinds {
		if errors.Is(err, k.err) {
			code = k.code
			break
		}
	}
	message := err.Error()
	if len(message) > maxPath*2 {
		message = message[:maxPath*2]
	}
	var e encoder
	e.uint(uint64(code)).string(message)
	return e.b
}

func decodeFailure(payload []byte) error {
	d := decoder{b: payload}
	e := &remoteError{code: failureCode(d.uint()), message: d.string()}
	if err := d.finish(); err != nil {
		return err
	}
	return advise(fmt.Errorf("the other side: %w", e))
}

// advise adds what to do where that is known.
func advise(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return hint.Wrap(err, "free space on the target's file system and run the copy again")
	case errors.Is(err, ErrLocked):
		return hint.Wrap(err, "wait for the other copy to end, or end it")
	case errors.Is(err, errVersion):
		return hint.Wrap(err, "run distrib to put the same warmrun on every node")
	case errors.Is(err, syscall.EDQUOT):
		return hint.Wrap(err, "raise the disk quota of the target's owner and run the copy again")
	case errors.Is(err, errFlush):
		return hint.Wrap(err, "the target's disk failed: look into its kernel's log (dmesg), and empty the target before another copy")
	}
	return err
}
