package walcore

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What is all zeros up to the end takes no space, and the rest is allocated.
func TestCopySparse(t *testing.T) {
	const size, piece = 4 << 20, 64 << 10
	for what, c := range map[string]struct{ from, to, atMost int }{
		"full":             {0, size, size},
		"switched early":   {0, 3 * piece, 3 * piece},
		"zeros at first":   {size - piece, size, piece},
		"nothing":          {0, 0, 0},
		"zeros in between": {piece, 3 * piece, 2 * piece},
	} {
		content := make([]byte, size)
		for i := c.from; i < c.to; i++ {
			content[i] = byte(i>>9) | 1
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		in := bytes.NewReader(content)
		buf := make([]byte, piece)
		err = copySparse(f, size, func() ([]byte, error) {
			n, err := io.ReadFull(in, buf)
			return buf[:n], err
		})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		got, err := os.ReadFile(f.Name())
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: got %d bytes, %v; want the content", what, len(got), err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		// The file system may need a block or two for its own bookkeeping.
		if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > int64(c.atMost)+16<<10 {
			t.Errorf("%s: %d bytes on disk, want at most %d", what, used, c.atMost)
		}
	}
}
