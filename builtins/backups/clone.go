package backups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/builtins/basebackup"
	"github.com/warmrun/warmrun/builtins/filesync"
)

// Clone copies a base copy within this node, into a directory that is there and
// has neither data nor tablespaces in it. Where the file system can, files share
// their blocks until one of them is written to (filesync.Here); nothing
// shares a file. It is durable when it returns, and can be restored from as the
// first one can.
func Clone(ctx context.Context, from Copy, to string) error {
	for _, part := range []string{dataDir, tablespacesDir} {
		source := filepath.Join(from.Dir, part)
		if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) && part == tablespacesDir {
			continue
		}
		if _, err := filesync.Push(ctx, filesync.Here, source, filepath.Join(to, part), filesync.Options{}); err != nil {
			return fmt.Errorf("copy %s to %s: %w", from.Dir, to, err)
		}
	}
	return basebackup.Relocate(filepath.Join(to, dataDir), from.Dir, to)
}
