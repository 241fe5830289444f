package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/warmrun/warmrun/builtins/lab/orphans"
)

// shared keeps what takes long to make and is the same for every cluster of a
// process: the program, and databases that initdb has made.
var shared sync.Map

// share calls fn for the first who asks for the key. Everybody gets its result.
func share(key string, fn func() ([]byte, error)) ([]byte, error) {
	result, _ := shared.LoadOrStore(key, sync.OnceValues(fn))
	return result.(func() ([]byte, error))()
}

// reapServers has dead servers reaped for as long as the process lives. One reaper
// does for all clusters: each would look at every child at every death.
var reapServers = sync.OnceValue(func() error {
	_, err := orphans.Adopt(context.Background())
	return err
})

// Program is the warmrun program, built from this source with the build tags.
func Program(t testing.TB, tags string) []byte {
	t.Helper()
	program, err := share("go build -tags "+tags, func() ([]byte, error) { return build(tags) })
	if err != nil {
		t.Fatalf("build the program: %v", err)
	}
	return program
}

func build(tags string) (program []byte, err error) {
	dir, err := os.MkdirTemp("", "wrbuild")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "warmrun")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-tags", tags, "-o", path, "github.com/warmrun/warmrun/cmd/warmrun")
	cmd.Env = append(slices.Clone(os.Environ()), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(path)
}

// database is a new data directory as an archive of tar. The primaries of all
// clusters begin with it, so they have one system identifier: no two clusters
// ever meet.
func (c *Cluster) database() ([]byte, error) {
	args := []string{"-U", c.account.name, "-E", "UTF8", "--locale=C", "--auth-local=peer", "--auth-host=reject", "--data-checksums", "--no-sync"}
	if c.segments != 0 {
		args = append(args, fmt.Sprintf("--wal-segsize=%d", c.segments))
	}
	initdb := filepath.Join(c.pgBin, "initdb")
	return share(initdb+" "+strings.Join(args, " "), func() ([]byte, error) { return c.initdb(initdb, args) })
}

func (c *Cluster) initdb(program string, args []string) (tar []byte, err error) {
	dir, err := os.MkdirTemp("", "wrinitdb")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if os.Geteuid() == 0 {
		if err := os.Lchown(dir, int(c.account.uid), int(c.account.gid)); err != nil {
			return nil, err
		}
	}
	for _, step := range [][]string{append([]string{program, "-D", dir}, args...), {"/bin/tar", "-C", dir, "-c", "."}} {
		cmd := exec.Command(step[0], step[1:]...)
		c.asAccount(cmd)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		if tar, err = cmd.Output(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s%s", cmd, err, tar, complaints.String())
		}
	}
	return tar, nil
}
