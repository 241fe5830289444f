package pgctl

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dataDir is a directory that passes for a data directory of a version.
func dataDir(t *testing.T, version string, files map[string]string) Server {
	t.Helper()
	all := map[string]string{"PG_VERSION": version + "\n"}
	for name, content := range files {
		all[name] = content
	}
	root := tree(t, all)
	if err := os.Chmod(root, 0o700); err != nil {
		t.Fatal(err)
	}
	return Server{PGData: root}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func missing(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err != nil
}

func TestSetAuto(t *testing.T) {
	for _, test := range []struct {
		name, before, after string
	}{
		{"new file", "", autoHeader + "restore_command = 'cp ''a\\\\b'' %p'\nwork_mem = '1MB'\n"},
		{"others stay", autoHeader + "port = '5433'\nWORK_MEM = '9MB'\n# note\nwork_mem = '8MB'",
			autoHeader + "port = '5433'\n# note\nrestore_command = 'cp ''a\\\\b'' %p'\nwork_mem = '1MB'\n"},
		{"no line end", autoHeader + "port = '5433'", autoHeader + "port = '5433'\nrestore_command = 'cp ''a\\\\b'' %p'\nwork_mem = '1MB'\n"},
	} {
		files := map[string]string{}
		if test.before != "" {
			files["postgresql.auto.conf"] = test.before
		}
		s := dataDir(t, "15", files)
		if err := s.SetAuto(map[string]string{"restore_command": `cp 'a\b' %p`, "work_mem": "1MB"}); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := readFile(t, s.autoPath()); got != test.after {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.after)
		}
		conf, err := ReadConf(s.autoPath())
		if value, _ := conf.Get("restore_command"); err != nil || value != `cp 'a\b' %p` {
			t.Errorf("%s: reads back as %q, %v", test.name, value, err)
		}
	}
}

func TestResetAuto(t *testing.T) {
	s := dataDir(t, "15", map[string]string{"postgresql.auto.conf": autoHeader + "port = '5433'\nwork_mem = '8MB'\n"})
	if err := s.ResetAuto("PORT", "unheard_of"); err != nil {
		t.Fatal(err)
	}
	if got, want := readFile(t, s.autoPath()), autoHeader+"work_mem = '8MB'\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSetAutoRefuses(t *testing.T) {
	before := autoHeader + "port = '5433'\n"
	for _, test := range []struct {
		name, version, text string
		set                 map[string]string
		want                string
	}{
		{"a line break", "15", before, map[string]string{"x": "a\nb"}, "line break"},
		{"a bad name", "15", before, map[string]string{"x = 1\ny": "z"}, "not the name of a setting"},
		{"a file that is broken", "15", "port = '5433\n", map[string]string{"x": "1"}, "postgresql.auto.conf:1: port: the closing quote"},
		{"9.3", "9.3", before, map[string]string{"x": "1"}, "does not read postgresql.auto.conf"},
	} {
		s := dataDir(t, test.version, map[string]string{"postgresql.auto.conf": test.text})
		err := s.SetAuto(test.set)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
		if got := readFile(t, s.autoPath()); got != test.text {
			t.Errorf("%s: the file became %q", test.name, got)
		}
	}
}

func TestWriteKeepsModeLinkAndOwner(t *testing.T) {
	s := dataDir(t, "15", map[string]string{"postgresql.auto.conf": "-> real.conf", "real.conf": ""})
	if err := os.Chmod(filepath.Join(s.PGData, "real.conf"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := s.SetAuto(map[string]string{"port": "1"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(s.autoPath()); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link became %v, %v", info, err)
	}
	if info, err := os.Stat(s.autoPath()); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v, %v, want 0640", info.Mode(), err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(s.PGData, 4711, 4712); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.PGData, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := s.ConfigureStandby(RecoverySettings{RestoreCommand: "x"}); err != nil {
			t.Fatal(err)
		}
		signal := filepath.Join(s.PGData, "standby.signal")
		if owner, err := ownerOf(signal); err != nil || owner != (ids{4711, 4712}) {
			t.Errorf("standby.signal belongs to %v, %v", owner, err)
		}
		if info, err := os.Stat(signal); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("standby.signal has mode %v, %v, want 0640 in a data directory open to its group", info.Mode(), err)
		}
	}
}

func TestConfigureStandbyWithSignalFile(t *testing.T) {
	s := dataDir(t, "15", map[string]string{
		"postgresql.auto.conf": autoHeader + "recovery_target_time = '2020-01-01'\nrecovery_target_action = 'shutdown'\nport = '1'\n",
		"recovery.signal":      "",
	})
	settings := RecoverySettings{RestoreCommand: "warmrun restore %f %p %r", TriggerFile: "/t", Extra: map[string]string{"recovery_prefetch": "off", "Standby_Mode": "on"}}
	if err := s.ConfigureStandby(settings); err != nil {
		t.Fatal(err)
	}
	want := autoHeader + "recovery_target_action = 'shutdown'\nport = '1'\npromote_trigger_file = '/t'\nrecovery_prefetch = 'off'\nrecovery_target_timeline = 'latest'\nrestore_command = 'warmrun restore %f %p %r'\n"
	if got := readFile(t, s.autoPath()); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if is, err := s.StandbyConfigured(); !is || err != nil {
		t.Errorf("StandbyConfigured: %v, %v", is, err)
	}
	if !missing(t, filepath.Join(s.PGData, "recovery.signal")) {
		t.Error("recovery.signal is still there")
	}
	for range 2 { // the second finds nothing to do
		if err := s.UnconfigureStandby(); err != nil {
			t.Fatal(err)
		}
	}
	if is, err := s.StandbyConfigured(); is || err != nil {
		t.Errorf("StandbyConfigured afterwards: %v, %v", is, err)
	}
}

func TestConfigureStandbyByVersion(t *testing.T) {
	settings := RecoverySettings{RestoreCommand: "r", TriggerFile: "/t", Extra: map[string]string{"work_mem": "1MB"}}
	for _, test := range []struct{ version, recovery, auto string }{
		{"18", "", "recovery_target_timeline = 'latest'\nrestore_command = 'r'\nwork_mem = '1MB'\n"},
		{"12", "", "promote_trigger_file = '/t'\nrecovery_target_timeline = 'latest'\nrestore_command = 'r'\nwork_mem = '1MB'\n"},
		{"11", "recovery_target_timeline = 'latest'\nrestore_command = 'r'\nstandby_mode = 'on'\ntrigger_file = '/t'\n", "work_mem = '1MB'\n"},
		{"9.6", "recovery_target_timeline = 'latest'\nrestore_command = 'r'\nstandby_mode = 'on'\ntrigger_file = '/t'\n", "work_mem = '1MB'\n"},
	} {
		s := dataDir(t, test.version, nil)
		if err := s.ConfigureStandby(settings); err != nil {
			t.Errorf("%s: %v", test.version, err)
			continue
		}
		if got := readFile(t, s.autoPath()); got != autoHeader+test.auto {
			t.Errorf("%s: postgresql.auto.conf is %q", test.version, got)
		}
		recovery := filepath.Join(s.PGData, "recovery.conf")
		if test.recovery == "" {
			if !missing(t, recovery) {
				t.Errorf("%s: there is a recovery.conf, with which the server would not start", test.version)
			}
			continue
		}
		if got := readFile(t, recovery); !strings.HasSuffix(got, "\n"+test.recovery) {
			t.Errorf("%s: recovery.conf is %q", test.version, got)
		}
		if err := s.UnconfigureStandby(); err != nil {
			t.Errorf("%s: %v", test.version, err)
		}
		if !missing(t, recovery) || missing(t, filepath.Join(s.PGData, "recovery.done")) {
			t.Errorf("%s: recovery.conf did not become recovery.done", test.version)
		}
		if err := s.UnconfigureStandby(); err != nil {
			t.Errorf("%s: a second time: %v", test.version, err)
		}
	}
}

func TestConfigureStandbyRefuses(t *testing.T) {
	for _, test := range []struct {
		version  string
		settings RecoverySettings
		want     string
	}{
		{"14", RecoverySettings{RestoreCommand: "r", Extra: map[string]string{"recovery_prefetch": "off"}}, "recovery_prefetch exists only from PostgreSQL 15 on"},
		{"9.0", RecoverySettings{RestoreCommand: "r", Extra: map[string]string{"primary_slot_name": "x"}}, "primary_slot_name exists only from PostgreSQL 9.4 on"},
		{"8.4", RecoverySettings{RestoreCommand: "r", TriggerFile: "/t"}, "trigger_file exists only from PostgreSQL 9.0 on"},
		{"8.4", RecoverySettings{RestoreCommand: `r\n`}, "cannot read a backslash"},
	} {
		s := dataDir(t, test.version, nil)
		err := s.ConfigureStandby(test.settings)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.version, err, test.want)
		}
		for _, name := range []string{"standby.signal", "recovery.conf", "postgresql.auto.conf"} {
			if !missing(t, filepath.Join(s.PGData, name)) {
				t.Errorf("%s: %s was written all the same", test.version, name)
			}
		}
	}
}
