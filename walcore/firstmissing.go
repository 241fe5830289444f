package walcore

import "fmt"

// FirstMissing is the first segment of those from one to another that is not in
// the archive, both included; "" when all are there. They are of one timeline,
// in order.
func (a *Archive) FirstMissing(from, to SegmentName) (SegmentName, error) {
	if from.Timeline() != to.Timeline() || from > to {
		return "", fmt.Errorf("%s does not lead to %s on one timeline", from, to)
	}
	stamp, stamped, err := a.Stamp()
	if err != nil {
		return "", err
	}
	if !stamped {
		return from, nil // nothing was stored yet
	}
	for name := from; name <= to; name = name.Next(stamp.SegmentSize) {
		if found, err := a.Has(FileName(name)); err != nil || !found {
			return name, err
		}
	}
	return "", nil
}
