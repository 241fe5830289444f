package basebackup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
)

// fileJob is a file to be read.
type fileJob struct {
	manifest.File
	path string // where it lies, also behind a tablespace's link
}

// fileResult is what came of it.
type fileResult struct {
	job     fileJob
	finding *Finding
	err     error // the check was stopped
}

// read compares the files by their contents, several side by side.
func (v *verification) read(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs, results := make(chan fileJob), make(chan fileResult)
	var workers sync.WaitGroup
	for range cmp.Or(v.Workers, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			buf := make([]byte, readSize)
			for job := range jobs {
				finding, err := job.compare(ctx, buf)
				results <- fileResult{job, finding, err}
			}
		})
	}
	workers.Go(func() {
		defer close(jobs)
		for _, job := range v.jobs {
			select {
			case jobs <- job:
			case <-ctx.Done():
				return
			}
		}
	})
	go func() {
		workers.Wait()
		close(results)
	}()
	return v.collect(results, cancel)
}

// readSize is how much of a file is read at a time.
const readSize = 1 << 20

// collect takes the results until there are no more. After an error it only
// waits for those that are under way.
func (v *verification) collect(results <-chan fileResult, cancel func()) error {
	progress := VerifyProgress{TotalFiles: len(v.jobs)}
	for _, job := range v.jobs {
		progress.TotalBytes += job.Size
	}
	var failure error
	for r := range results {
		if r.err != nil {
			failure = cmp.Or(failure, r.err)
			cancel()
			continue
		}
		if r.finding != nil {
			v.report.Findings = append(v.report.Findings, *r.finding)
		}
		progress.Files++
		progress.Bytes += r.job.Size
		if v.Progress != nil {
			v.Progress(progress)
		}
	}
	return failure
}

// compare reads a file and says what is wrong with it. The error is ctx's.
func (j fileJob) compare(ctx context.Context, buf []byte) (*Finding, error) {
	size, sum, err := j.digest(ctx, buf)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		return &Finding{Problem: Missing, Path: j.Path}, nil
	case err != nil:
		return &Finding{Unreadable, j.Path, err.Error()}, nil
	case size != j.Size:
		return &Finding{Changed, j.Path, fmt.Sprintf("it has %d bytes, the manifest says %d", size, j.Size)}, nil
	case !bytes.Equal(sum, j.Checksum):
		return &Finding{Changed, j.Path, fmt.Sprintf("its %s is %x, the manifest says %x", j.Algorithm, sum, j.Checksum)}, nil
	}
	return nil, nil
}

// digest is a file's size, and its checksum where the size is right.
func (j fileJob) digest(ctx context.Context, buf []byte) (size int64, sum []byte, err error) {
	f, err := os.Open(j.path)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	info, err := f.Stat()
	if err != nil {
		return 0, nil, err
	}
	h := j.Algorithm.New()
	if h == nil || info.Size() != j.Size {
		return info.Size(), nil, nil
	}
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n]) //nolint:errcheck // a hash takes everything
		size += int64(n)
		if errors.Is(err, io.EOF) {
			return size, h.Sum(nil), nil
		}
		if err != nil {
			return size, nil, err
		}
		if ctx.Err() != nil {
			return size, nil, context.Cause(ctx)
		}
	}
}
