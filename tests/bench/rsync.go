package main

import (
	"context"
	"path/filepath"
	"strings"
)

// rsyncTransfer runs rsync over ssh from a directory's content to target.
// settings are for OpenSSH's client.
func (b *bench) rsyncTransfer(l *link, settings, source, target string, flags ...string) (*transfer, error) {
	config := filepath.Join(l.dir, "ssh_config."+filepath.Base(target))
	if err := write(config, l.config(settings), 0o600); err != nil {
		return nil, err
	}
	argv := append([]string{"rsync"}, flags...)
	argv = append(argv, "-e", "ssh -F "+config, source+"/", "peer:"+target+"/")
	x := newTransfer("rsync "+strings.Join(named(flags), " "), l, target, argv...)
	x.fsync, x.flush, x.far, x.compress = "sync after", true, "/usr/bin/rsync", "none"
	return x, nil
}

// named are the flags that tell one rsync from another.
func named(flags []string) []string {
	var kept []string
	for _, flag := range flags {
		if !strings.HasPrefix(flag, "--exclude") {
			kept = append(kept, flag)
		}
	}
	return kept
}

// rsyncPacking is what rsync packs with when it is told -z: the two sides agree
// on it (--debug=NSTR).
func (b *bench) rsyncPacking(ctx context.Context, l *link) (string, error) {
	dir := b.path("nothing")
	if err := emptyDir(dir); err != nil {
		return "", err
	}
	said, err := b.output(ctx, "rsync", "-az", "--debug=NSTR", "-e", "ssh -F "+l.clientConfig(), dir+"/", "peer:"+dir+"/")
	if err != nil {
		return "", err
	}
	_, after, found := strings.Cut(said, "compress: ")
	if words := strings.Fields(after); found && len(words) > 0 {
		return "wire " + words[0], nil
	}
	return "wire", nil
}
