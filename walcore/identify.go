package walcore

// sampleSize is how many segments are asked for the cluster of an archive that
// has no stamp. A single one might be the one that does not belong there.
const sampleSize = 9

// identify is the cluster that the archive belongs to, by its stamp or, where
// it has none, by what most of a few segments say. It is zero where nothing
// tells.
func (a *Archive) identify(files []ListedFile) (id Identity, stamped bool, err error) {
	stamp, stamped, err := a.Stamp()
	if err != nil || stamped {
		return stamp.Identity(), stamped, err
	}
	var segments []FileName
	for _, file := range files {
		if file.Kind == KindSegment && file.Bytes > 0 {
			segments = append(segments, FileName(file.Name))
		}
	}
	votes := map[Identity]int{}
	step := max(1, len(segments)/sampleSize)
	for i := len(segments) - 1; i >= 0; i -= step {
		header, err := a.headerOf(segments[i])
		if err != nil {
			continue // too damaged to speak for a cluster
		}
		vote := header.Identity()
		votes[vote]++
		if votes[vote] > votes[id] {
			id = vote
		}
	}
	return id, false, nil
}
