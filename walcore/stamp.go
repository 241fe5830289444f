package walcore

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Stamp says which cluster an archive belongs to. It is taken from the first
// segment stored, and every later one must match it.
type Stamp struct {
	SystemID    uint64      `json:"system_identifier,string"`
	SegmentSize SegmentSize `json:"segment_size"`
	// Epoch is the fence's: it grows with every fence raised and never shrinks.
	Epoch   uint64    `json:"epoch"`
	Created time.Time `json:"created"`
}

// Identity is what segments are compared with.
func (s Stamp) Identity() Identity {
	return Identity{SystemID: s.SystemID, SegmentSize: s.SegmentSize}
}

// Stamp is the archive's stamp; false when no segment was stored yet. A stamp
// that cannot be read is an error: it must not look like an empty archive.
func (a *Archive) Stamp() (Stamp, bool, error) {
	if err := a.present(); err != nil {
		return Stamp{}, false, err
	}
	stamp, found, err := a.readStamp()
	if err != nil || !found {
		return Stamp{}, false, err
	}
	fence, err := a.readFence()
	if err != nil {
		return Stamp{}, false, err
	}
	stamp.Epoch = fence.Epoch
	return stamp, true, nil
}

func (a *Archive) readStamp() (Stamp, bool, error) {
	var stamp Stamp
	found, err := readState(a.state("stamp"), &stamp)
	if err == nil && found && (stamp.SystemID == 0 || !stamp.SegmentSize.Valid()) {
		err = fmt.Errorf("%s names no cluster", a.state("stamp"))
	}
	if err != nil {
		return Stamp{}, false, hint.Wrap(fmt.Errorf("archive stamp: %w", err),
			"if the file is damaged, remove %s: the next segment stored stamps the archive again", a.state("stamp"))
	}
	return stamp, found, nil
}

// claim stamps an archive that has no stamp yet, under its lock. An archive
// that was filled by other means is first looked at, once: the newest segment
// in it must be of the same cluster.
func (a *Archive) claim(r PutRequest, header PageHeader) error {
	names, err := a.List()
	if err != nil {
		return err
	}
	for i := len(names) - 1; i >= 0; i-- {
		if names[i].Kind() != KindSegment {
			continue
		}
		there, err := a.headerOf(names[i])
		if err != nil {
			continue // too damaged to speak for a cluster
		}
		if there.SystemID != header.SystemID {
			return a.foreign(r, header, there.SystemID, fmt.Sprintf("already holds %s", names[i]))
		}
		break
	}
	return writeState(a.state("stamp"), Stamp{SystemID: header.SystemID, SegmentSize: header.SegmentSize, Created: time.Now().UTC()})
}

// headerOf reads the first page header. Of a packed segment only the first
// piece is unpacked for it.
func (a *Archive) headerOf(name FileName) (PageHeader, error) {
	f, err := a.find(name)
	if err != nil {
		return PageHeader{}, err
	}
	header, err := f.header()
	return header, errors.Join(err, f.Close())
}

func (s *storedFile) header() (PageHeader, error) {
	if !s.form.Packs() {
		return ReadPageHeader(s)
	}
	u, err := unpackBegin(s)
	if err != nil {
		return PageHeader{}, err
	}
	header, err := ReadPageHeader(bytes.NewReader(u.first))
	return header, errors.Join(err, u.close())
}

func (a *Archive) foreign(r PutRequest, header PageHeader, ours uint64, because string) error {
	return r.refuse(ReasonCluster,
		"give each cluster an archive of its own; after pg_upgrade or a new initdb of this one, retire the old archive first",
		"it is of the cluster with system identifier %d, and the archive %s belongs to %d (%s)", header.SystemID, a.dir, ours, because)
}
