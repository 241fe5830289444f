package walcore

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// differ is the refusal of other bytes under a name that is taken. It tells
// of both copies which timeline and which WAL they hold, because that is how
// an operator finds out which of them is right.
func (p *put) differ(part int64) error {
	offered, err := p.content()
	if err != nil {
		return err
	}
	if kind := p.Name.Kind(); kind == KindHistory || kind == KindBackup {
		return p.refuse(ReasonDifferent,
			"find out which node wrote each of the two: where two servers were promoted to the same timeline, only one of them may go on, and the other must become its standby",
			"%s has other content (stored %s, offered %s, different from byte %d on)", p.there.Name(), sizeText(p.stored), sizeText(offered), part)
	}
	remedy := fmt.Sprintf("if this server is an old primary that came back after a promotion, stop it and make it a standby of the new primary. "+
		"If it is the right primary, the stored copy is damaged or foreign: move %s aside, and the next try stores this one", p.there.Name())
	where := fmt.Sprintf("different from byte %d on", part)
	if SegmentSize(p.Size).Valid() {
		where = fmt.Sprintf("different from byte %d, %s, on", part, p.at(part))
	}
	return p.refuse(ReasonDifferent, remedy, "%s holds %s; the one offered holds %s; %s",
		p.there.Name(), p.describe(p.stored), p.describe(offered), where)
}

// describe tells what a copy of the segment holds.
func (p *put) describe(f *os.File) string {
	header, err := ReadPageHeader(f)
	if err != nil {
		return fmt.Sprintf("%s that are no WAL (%v)", sizeText(f), err)
	}
	extent, err := p.scan(f)
	var mismatch *HeaderError
	switch {
	case errors.As(err, &mismatch):
		return fmt.Sprintf("another segment (%s)", mismatch.Detail)
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Sprintf("WAL of timeline %d that cannot be read (%v)", uint32(header.Timeline), err)
	}
	end := "to the segment's end"
	if extent.LastKind == RecordSwitch {
		end = "ended by a WAL switch"
	} else if !extent.Complete {
		end = extent.Stopped
	}
	return fmt.Sprintf("WAL of timeline %d from %s to %s (%s)", uint32(extent.Timeline), p.at(0), extent.End, end)
}

func sizeText(f *os.File) string {
	info, err := f.Stat()
	if err != nil {
		return "an unknown number of bytes"
	}
	return fmt.Sprintf("%d bytes", info.Size())
}
