package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// scriptNames are 2warm's scripts, which become links to the binary.
var scriptNames = []string{
	"archiveWALFile", "configSetup", "configStandby", "copyToDR", "copyToStandby", "distrib2warm",
	"flushPrimary", "pg_standby", "restoreWALFile", "rsyncDR", "triggerStandby",
}

// adoptOptions tell a node how it is called and who its partner is.
type adoptOptions struct {
	Name  cluster.NodeName `json:"name"`
	Other cluster.NodeName `json:"other"`
	DR    cluster.NodeName `json:"dr"`
	// Runbooks are all that belong into global/runbooks; nil: not told.
	Runbooks []string `json:"runbooks"`
}

// installHere copies the running binary into this home, where it is not
// already, and makes 2warm's script names work in a 2warm tree.
func installHere(ctx context.Context, s *session) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	target := s.site.Self.Binary()
	if same, err := sameFile(exe, target); err != nil || same {
		return errors.Join(err, linkScripts(s.site))
	}
	say(ctx, s, "Installing %s", target)
	if err := atomicfile.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	in, err := os.Open(exe)
	if err != nil {
		return err
	}
	defer in.Close()
	err = atomicfile.Write(target, atomicfile.Options{Perm: 0o755}, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
	return errors.Join(err, linkScripts(s.site))
}

func sameFile(a, b string) (bool, error) {
	first, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	second, err := os.Stat(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(first, second), nil
}

// linkScripts puts links under 2warm's script names into global/replication.
// What stood there before is kept beside them.
func linkScripts(site *cluster.Site) error {
	if site.Layout != cluster.Layout2warm {
		return nil
	}
	dir := site.Global("replication")
	if err := atomicfile.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	const target = "../../bin/warmrun"
	for _, name := range scriptNames {
		path := filepath.Join(dir, name)
		if link, err := os.Readlink(path); err == nil && link == target {
			continue
		}
		if _, err := os.Lstat(path); err == nil {
			if err := os.Rename(path, path+".2warm"); err != nil {
				return err
			}
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(dir)
}

// distribute brings the program and the global directory to a node, and tells
// the program there to take them into use. local/ there is never overwritten.
func distribute(ctx context.Context, s *session, name cluster.NodeName) error {
	node, err := s.site.Node(name)
	if err != nil {
		return err
	}
	client, err := s.client(ctx, name)
	if err != nil {
		return fmt.Errorf("reach %s: %w", name, err)
	}
	say(ctx, s, "Running rsync %s to %s", s.site.Home, name)
	if err := sendBinary(ctx, s, client, node); err != nil {
		return fmt.Errorf("install warmrun on %s: %w", name, err)
	}
	summary, err := filesync.Push(ctx, s.syncAgent(name), s.site.Global(), filepath.Join(node.Home, "global"),
		filesync.Options{Streams: 1, Verbose: s.live(ctx), FollowRoot: true})
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", s.site.Global(), name, err)
	}
	fmt.Fprintln(s.live(ctx), summary)
	options := adoptOptions{Name: node.Name, Other: s.site.Self.Name}
	if options.Runbooks, err = ownRunbooks(s.site.Global("runbooks")); err != nil {
		return err
	}
	if dr, ok := s.site.DR(); ok {
		options.DR = dr.Name
	}
	s.dropCalls(name) // they are of the program that was there before
	var done none
	return s.call(ctx, name, "cluster.adopt", options, &done)
}

// sendBinary writes the running binary on the node through plain ssh, since
// nothing of ours is there yet: beside its place, flushed, then renamed.
func sendBinary(ctx context.Context, s *session, client *remote.Client, node cluster.Node) error {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer exe.Close()
	target := node.Binary()
	same, err := client.Output(ctx, remote.Quote(target, "version", "--digest"), nil)
	if ours, errOurs := binaryDigest(); err == nil && errOurs == nil && strings.TrimSpace(string(same)) == ours {
		say(ctx, s, "%s is up to date on %s", target, node.Name)
		return nil
	}
	if err := checkMachine(ctx, client, node); err != nil {
		return err
	}
	tmp := target + ".new"
	script := strings.Join([]string{
		"umask 022",
		"mkdir -p " + remote.Quote(filepath.Dir(target), filepath.Join(node.Home, "global"), filepath.Join(node.Home, "local")),
		"cat > " + remote.Quote(tmp),
		"chmod 755 " + remote.Quote(tmp),
		"sync " + remote.Quote(tmp) + " 2>/dev/null || sync",
		"mv -f " + remote.Quote(tmp, target),
	}, " && ")
	_, err = client.Output(ctx, script, exe)
	return err
}

// adopt runs on a node that distrib has just served: it writes the node's own
// name, on a fresh node its partner's, and the links of a 2warm tree. Runbooks
// that do not belong to the site any more go out of use.
func adopt(ctx context.Context, s *session, o adoptOptions) (none, error) {
	words := map[string]cluster.NodeName{s.site.Local("node"): o.Name}
	if s.site.Layout == cluster.Layout2warm {
		words[s.site.Local("replication", "othernode")] = o.Other
		words[s.site.Local("replication", "drnode")] = o.DR
	}
	for path, word := range words {
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return none{}, err
		}
		if err := atomicfile.WriteFile(path, []byte(word+"\n"), 0o644); err != nil {
			return none{}, err
		}
	}
	if o.Runbooks != nil {
		if err := retireRunbooks(ctx, s, o.Runbooks); err != nil {
			return none{}, err
		}
	}
	return none{}, linkScripts(s.site)
}
