package ship

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/warmrun/warmrun/walcore"
)

// Fetch brings one file from the peer's archive into own, where it is durable
// when this returns nil. A provisional segment stays one. The error is
// walcore.ErrNotArchived where the peer does not have the file.
func (c *Client) Fetch(ctx context.Context, own *walcore.Archive, name walcore.FileName) (err error) {
	// In the archive, where there is room if anywhere, under a name that is no
	// WAL file's; Put then checks it like any other.
	tmp, err := os.CreateTemp(own.Dir(), ".warmrun-fetch-*")
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
