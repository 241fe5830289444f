package filesync

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// names are those in a directory, in order, in little more memory than their
// bytes: a directory may have millions.
type names struct {
	bytes []byte
	each  []nameAt
}

// nameAt is where a name is.
type nameAt struct {
	from uint32
	n    uint8 // NAME_MAX is 255
}

// maxNameBytes is far more than any directory has in names.
const maxNameBytes = 1<<32 - 1

// namesAtOnce is how many names are asked for at a time.
const namesAtOnce = 4096

// readNames reads the names in a directory.
func readNames(dir *os.File) (names, error) {
	var all names
	for {
		some, err := dir.Readdirnames(namesAtOnce)
		for _, name := range some {
			if len(name) > 255 || len(all.bytes)+len(name) > maxNameBytes {
				return names{}, fmt.Errorf("%s: its names are too long, or too many", dir.Name())
			}
			all.each = append(all.each, nameAt{uint32(len(all.bytes)), uint8(len(name))})
			all.bytes = append(all.bytes, name...)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return names{}, err
		}
	}
	slices.SortFunc(all.each, func(a, b nameAt) int { return bytes.Compare(all.name(a), all.name(b)) })
	return all, nil
}

func (s names) name(at nameAt) []byte { return s.bytes[at.from:][:at.n] }
