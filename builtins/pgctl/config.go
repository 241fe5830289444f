package pgctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
)

// ConfigPath is the server's postgresql.conf: ConfigFile where it is set, the
// file of Debian's cluster, PGDATA/postgresql.conf, or what the server was
// last started with.
func (s Server) ConfigPath() (string, error) {
	if s.ConfigFile != "" {
		return s.ConfigFile, nil
	}
	cluster, err := s.machine.debianCluster(s.PGData)
	if err != nil {
		return "", err
	}
	if cluster != (debianCluster{}) {
		return filepath.Join(cluster.config, "postgresql.conf"), nil
	}
	inside := filepath.Join(s.PGData, "postgresql.conf")
	_, err = os.Stat(inside)
	if err == nil {
		return inside, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if path := s.configLastUsed(); path != "" {
		return path, nil
	}
	return "", hint.Wrap(fmt.Errorf("no postgresql.conf found for %s: %w", s.PGData, err), "set config_file to where it lies")
}

// configOption finds config_file in the server's last command line, which it
// keeps in PGDATA/postmaster.opts, each argument in double quotes.
var configOption = lazyRegexp(`(?:"-c" "|"-c|"--)config[_-]file=([^"]+)"`)

func (s Server) configLastUsed() string {
	text, err := os.ReadFile(filepath.Join(s.PGData, "postmaster.opts"))
	if err != nil {
		return ""
	}
	match := configOption().FindStringSubmatch(string(text))
	if match == nil || !filepath.IsAbs(match[1]) {
		return ""
	}
	if _, err := os.Stat(match[1]); err != nil {
		return ""
	}
	return match[1]
}

// Conf reads the server's configuration files: postgresql.conf and what it
// includes, then postgresql.auto.conf. It knows nothing of options given on
// the command line or stored in the database; Setting knows the former.
func (s Server) Conf() (Conf, error) {
	path, err := s.ConfigPath()
	if err != nil {
		return nil, err
	}
	conf, err := ReadConf(path)
	if err != nil {
		return nil, err
	}
	auto, err := ReadConf(s.autoPath())
	if errors.Is(err, fs.ErrNotExist) {
		return conf, nil
	}
	return append(conf, auto...), err
}

// configOptions are the options that make a server in PGDATA use a
// configuration that lies elsewhere, with the pg_hba.conf and pg_ident.conf
// beside it, as pg_ctlcluster does it.
func (s Server) configOptions() ([]string, error) {
	path, err := s.ConfigPath()
	if err != nil {
		return nil, err
	}
	if sameDir(filepath.Dir(path), s.PGData) {
		return nil, nil
	}
	words := []string{"-c", "config_file=" + path}
	conf, err := ReadConf(path)
	if err != nil {
		return words, nil // the server will say what is wrong with it
	}
	for _, part := range []struct{ setting, name string }{{"hba_file", "pg_hba.conf"}, {"ident_file", "pg_ident.conf"}} {
		if _, set := conf.Get(part.setting); set {
			continue
		}
		beside := filepath.Join(filepath.Dir(path), part.name)
		_, errInside := os.Stat(s.inData(part.name))
		if _, err := os.Stat(beside); err == nil && errors.Is(errInside, fs.ErrNotExist) {
			words = append(words, "-c", part.setting+"="+beside)
		}
	}
	return words, nil
}

// Setting is the value that a start of the server now would use: `postgres -C`
// works it out from the files and the defaults. Numbers are in the setting's
// own unit and without it (work_mem = 7MB is "7168"). A running server may
// still use an older value. The settings that 15 and later compute at the start
// (shared_memory_size and its like) are known only while the server is stopped.
func (s Server) Setting(ctx context.Context, name string) (string, error) {
	if !settingName().MatchString(name) {
		return "", fmt.Errorf("%q is not the name of a setting", name)
	}
	words, err := s.configOptions()
	if err != nil {
		return "", err
	}
	args := append([]string{"-D", s.PGData}, words...)
	cmd, err := s.program(ctx, "postgres", append(args, "-C", name)...)
	if err != nil {
		return "", err
	}
	out, err := run(cmd)
	if err != nil {
		return "", fmt.Errorf("setting %s of the server in %s: %w", name, s.PGData, err)
	}
	return strings.TrimSuffix(out, "\n"), nil
}

// Settings is Setting for several names.
func (s Server) Settings(ctx context.Context, names ...string) (map[string]string, error) {
	values := make(map[string]string, len(names))
	for _, name := range names {
		value, err := s.Setting(ctx, name)
		if err != nil {
			return nil, err
		}
		values[name] = value
	}
	return values, nil
}

// settingName is a setting's name, also an extension's.
var settingName = lazyRegexp(`^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*$`)
