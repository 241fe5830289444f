package pgctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// tree writes files below a new directory and returns it. A name that ends in
// a slash is a directory, a content "-> x" a symbolic link, "#!" a program.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		target, isLink := strings.CutPrefix(content, "-> ")
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasPrefix(content, "#!"):
			err = os.WriteFile(path, []byte(content), 0o755)
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestReadConfFollowsIncludes(t *testing.T) {
	root := tree(t, map[string]string{
		"main.conf":            "port = 1\ninclude 'sub/more.conf'\ninclude_if_exists = 'nowhere.conf'\ninclude_dir 'conf.d'\nwork_mem = 1MB\n",
		"sub/more.conf":        "port = 2\ninclude 'deeper.conf'\n",
		"sub/deeper.conf":      "a.b = 'x'\n",
		"conf.d/20.conf":       "port = 4\n",
		"conf.d/10.conf":       "port = 3\n",
		"conf.d/.hidden.conf":  "port = 9\n",
		"conf.d/note.txt":      "not a setting at all\n",
		"conf.d/folder.conf/x": "",
	})
	conf, err := ReadConf(filepath.Join(root, "main.conf"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range conf {
		got = append(got, s.Name+"="+s.Value)
	}
	if want := "port=1 port=2 a.b=x port=3 port=4 work_mem=1MB"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if port, ok := conf.Get("PORT"); port != "4" || !ok {
		t.Errorf("port is %q, %v, want the last one, 4", port, ok)
	}
	if last := conf[len(conf)-2]; last.File != filepath.Join(root, "conf.d/20.conf") || last.Line != 1 {
		t.Errorf("port = 4 comes from %s:%d", last.File, last.Line)
	}
}

func TestReadConfSaysWhere(t *testing.T) {
	root := tree(t, map[string]string{
		"typo.conf":    "port = 1\n\nwork_mem = 'x\n",
		"missing.conf": "include 'gone.conf'\n",
		"loop.conf":    "include 'loop.conf'\n",
		"via.conf":     "include 'typo.conf'\n",
	})
	for file, want := range map[string]string{
		"typo.conf":    "typo.conf:3: work_mem: the closing quote is missing",
		"missing.conf": "missing.conf:1: include \"gone.conf\"",
		"loop.conf":    "more than 10 deep",
		"via.conf":     "typo.conf:3:",
	} {
		_, err := ReadConf(filepath.Join(root, file))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", file, err, want)
		}
		if file == "typo.conf" && hint.Of(err) == "" {
			t.Errorf("%s: no hint with %v", file, err)
		}
	}
}

func TestConfBool(t *testing.T) {
	for value, want := range map[string]bool{"on": true, "ON": true, "true": true, "t": true, "yes": true, "y": true, "1": true, "off": false, "of": false, "no": false, "f": false, "0": false} {
		conf := Conf{{Name: "x", Value: value}}
		if got := conf.Bool("x", !want); got != want {
			t.Errorf("%q is %v, want %v", value, got, want)
		}
	}
	if got := (Conf{{Name: "x", Value: "perhaps"}}).Bool("x", true); !got {
		t.Error("a value that is neither did not give the fallback")
	}
	if got := (Conf{}).Bool("x", true); !got {
		t.Error("a missing setting did not give the fallback")
	}
}
