package ship

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// Fetch brings one file from the peer's archive into own, where it is durable
// when this returns nil. A provisional segment stays one. The error is
// walcore.ErrNotArchived where the peer does not have the file.
func (c *Client) Fetch(ctx context.Context, own *walcore.Archive, name walcore.FileName) (err error) {
	// In the archive, where there is room if anywhere; what a crash leaves here
	// is swept with the archive's own temporary files.
	dir := filepath.Join(own.Dir(), ".warmrun", "tmp")
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	tmp, err := os.CreateTemp(dir, "put-*")
	if err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name())) }()
	provisional, err := c.Get(ctx, name, tmp)
	if err != nil {
		return err
	}
	_, err = own.PutFile(ctx, name, tmp.Name(), provisional)
	return err
}
