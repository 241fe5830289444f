package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore"
)

// site is a pair of nodes for warmrun, a and b, which share this machine. WAL
// goes from a to b.
type site struct {
	b       *bench
	binary  string // a copy of its own, so that its processes can be told apart
	homeA   string
	homeB   string
	archive string // b's
	link    *link
}

// newSite makes the home directories. archiveTable is put below [archive] in
// cluster.toml.
func (b *bench) newSite(ctx context.Context, dir, pgdataA, pgdataB, archiveTable string) (*site, error) {
	l, err := b.newLink(ctx)
	if err != nil {
		return nil, err
	}
	return b.siteOver(l, dir, pgdataA, pgdataB, archiveTable)
}

// siteOver is newSite over a link that is there.
func (b *bench) siteOver(l *link, dir, pgdataA, pgdataB, archiveTable string) (*site, error) {
	s := &site{b: b, link: l, homeA: filepath.Join(dir, "a"), homeB: filepath.Join(dir, "b"), binary: filepath.Join(dir, "a", "bin", "warmrun")}
	s.archive = filepath.Join(s.homeB, "archive")
	program, err := os.ReadFile(b.path("warmrun"))
	if err != nil {
		return nil, err
	}
	var toml strings.Builder
	fmt.Fprintf(&toml, "[cluster]\nname = 'bench'\n[archive]\n%s\n", archiveTable)
	for _, n := range []struct{ name, home, pgdata string }{{"a", s.homeA, pgdataA}, {"b", s.homeB, pgdataB}} {
		fmt.Fprintf(&toml, "[[node]]\nname = '%s'\nhost = '%s'\npgdata = '%s'\nhome = '%s'\nuser = '%s'\n", n.name, l.host, n.pgdata, n.home, sqlUser)
		fmt.Fprintf(&toml, "[node.ssh]\nuser = '%s'\nport = %d\nidentity_file = '%s'\nknown_hosts = '%s'\n", b.user, l.port, l.key(), l.knownHosts())
	}
	for _, n := range []struct{ name, home string }{{"a", s.homeA}, {"b", s.homeB}} {
		err = errors.Join(err,
			write(filepath.Join(n.home, "global", "cluster.toml"), toml.String(), 0o600),
			write(filepath.Join(n.home, "local", "node"), n.name+"\n", 0o600),
			write(filepath.Join(n.home, "bin", "warmrun"), string(program), 0o755))
	}
	return s, errors.Join(err,
		write(filepath.Join(s.homeA, "local", "replication", "archiving_active"), "bench\n", 0o600),
		emptyDir(s.archive))
}

func (s *site) archiveCommand() string {
	return fmt.Sprintf("%s --home %s archive %%p %%f", s.binary, s.homeA)
}

func (s *site) restoreCommand() string {
	return fmt.Sprintf("%s/bin/warmrun --home %s restore %%f %%p %%r", s.homeB, s.homeB)
}

// reset ends what a keeps running, and what that keeps running on b, so that
// nobody remembers what was delivered; then it empties the archive.
func (s *site) reset(ctx context.Context) error {
	for _, program := range []string{s.binary, filepath.Join(s.homeB, "bin", "warmrun")} {
		if err := s.b.procs.finish(ctx, program); err != nil {
			return err
		}
	}
	return emptyDir(s.archive)
}

// shipping makes a contestant of the site.
func (s *site) shipping(compress string) *shipping {
	return &shipping{
		who: us, fsync: "file, dir", compress: compress, link: s.link,
		command: s.archiveCommand(), reset: s.reset, fetch: s.fetch,
	}
}

// fetch reads a segment of b's archive: plain, or in the frames of zstd or lz4
// that the standard tools can unpack.
func (s *site) fetch(ctx context.Context, name walcore.SegmentName) ([]byte, error) {
	found, err := filepath.Glob(filepath.Join(s.archive, string(name)+"*"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("%d files of that name (%w)", len(found), err)
	}
	data, err := os.ReadFile(found[0])
	switch {
	case err != nil:
		return nil, err
	case strings.HasSuffix(found[0], ".zst"):
		return s.unpacked(ctx, "zstd", found[0])
	case strings.HasSuffix(found[0], ".lz4"):
		return s.unpacked(ctx, "lz4", found[0])
	}
	return data, nil
}

func (s *site) unpacked(ctx context.Context, tool, path string) ([]byte, error) {
	var content bytes.Buffer
	cmd := s.b.command(ctx, tool, "-dc", path)
	cmd.Stdout = &content
	err := s.b.procs.run(cmd)
	return content.Bytes(), err
}

// supports reports whether the program knows a key of cluster.toml: it refuses
// those that it does not know.
func (b *bench) supports(ctx context.Context, archiveTable string) (bool, error) {
	dir := b.path("probe")
	if err := errors.Join(
		write(filepath.Join(dir, "global", "cluster.toml"), "[archive]\n"+archiveTable+"\n[[node]]\nname = 'a'\npgdata = '/nonexistent'\n", 0o600),
		write(filepath.Join(dir, "local", "node"), "a\n", 0o600)); err != nil {
		return false, err
	}
	cmd := b.command(ctx, b.path("warmrun"), "--home", dir, "env", "--json")
	err := b.procs.run(cmd)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return false, nil
	}
	return err == nil, err
}
