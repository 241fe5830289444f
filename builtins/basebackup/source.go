package basebackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Tablespace is a tablespace outside pg_default and pg_global.
type Tablespace struct {
	OID    string `json:"oid"`
	Source string `json:"source"` // its directory here
	Target string `json:"target"` // its directory on the target
	source string // what the symbolic link in the source's pg_tblspc says
	link   string // what the one on the target says
	inside string // its path below the data directory, if it is there
}

// moved reports whether the tablespace is elsewhere on the target.
func (t Tablespace) moved() bool { return t.link != t.source }

// examineSource learns what there is to copy, and that the session is with the
// server whose files they are.
func (c *copier) examineSource(ctx context.Context) (err error) {
	c.PGData, c.TargetPGData = filepath.Clean(c.PGData), filepath.Clean(c.TargetPGData)
	if !filepath.IsAbs(c.PGData) || !filepath.IsAbs(c.TargetPGData) {
		return fmt.Errorf("the data directories must be absolute paths")
	}
	if c.control, err = walcore.ReadControlFile(c.PGData); err != nil {
		return err
	}
	if c.Conn.Version() >= 90600 { // pg_control_system is new in 9.6
		id, err := textValue(c.Conn.Value(ctx, "SELECT system_identifier::text FROM pg_control_system()"))
		if err != nil {
			return err
		}
		// The function prints the identifier as a signed number.
		if id != strconv.FormatInt(int64(c.control.SystemID), 10) {
			return hint.Wrap(fmt.Errorf("the session is with a server of system identifier %s, but %s is of %d", id, c.PGData, c.control.SystemID),
				"check the port and the data directory of this node")
		}
	}
	c.walDir = "pg_wal"
	if c.Conn.Version() < 100000 {
		c.walDir = "pg_xlog"
	}
	if c.tablespaces, err = findTablespaces(c.PGData, c.TargetPGData, c.TablespaceMap); err != nil {
		return err
	}
	c.result.Tablespaces = c.tablespaces
	return nil
}

// findTablespaces reads the links in pg_tblspc. A directory there (an in-place
// tablespace) is copied with the data directory.
func findTablespaces(pgdata, target string, moved map[string]string) ([]Tablespace, error) {
	dir := filepath.Join(pgdata, "pg_tblspc")
	links, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []Tablespace
	used := map[string]bool{}
	for _, l := range links {
		if !digits(l.Name()) || l.Type()&os.ModeSymlink == 0 {
			continue
		}
		link, err := os.Readlink(filepath.Join(dir, l.Name()))
		if err != nil {
			return nil, err
		}
		t := locate(pgdata, target, l.Name(), link)
		if to, ok := moved[t.Source]; ok {
			if !filepath.IsAbs(to) {
				return nil, fmt.Errorf("tablespace %s cannot be moved to %q, which is not an absolute path", t.Source, to)
			}
			used[t.Source] = true
			t.Target, t.link = filepath.Clean(to), filepath.Clean(to)
		}
		found = append(found, t)
	}
	for from := range moved {
		if !used[from] {
			return nil, hint.Wrap(fmt.Errorf("there is no tablespace at %s to be moved", from), "tablespaces are at %s", sources(found))
		}
	}
	return found, nil
}

// locate says where a tablespace is, and where it goes if nobody moves it: to
// the same place, or to the same place within the target's data directory.
func locate(pgdata, target, oid, link string) Tablespace {
	t := Tablespace{OID: oid, Source: filepath.Clean(link), Target: filepath.Clean(link), source: link, link: link}
	if !filepath.IsAbs(link) {
		t.Source = filepath.Join(pgdata, "pg_tblspc", link)
		t.Target = filepath.Join(target, "pg_tblspc", link)
	}
	if inside, ok := within(pgdata, t.Source); ok {
		t.inside = inside
		t.Target = filepath.Join(target, inside)
		if filepath.IsAbs(link) {
			t.link = t.Target
		}
	}
	return t
}

// within is the path of a directory below another, also where links lead to
// either.
func within(dir, name string) (string, bool) {
	if inside, err := filepath.Rel(dir, name); err == nil && filepath.IsLocal(inside) {
		return inside, true
	}
	realDir, errDir := filepath.EvalSymlinks(dir)
	realName, errName := filepath.EvalSymlinks(name)
	if errDir != nil || errName != nil {
		return "", false
	}
	inside, err := filepath.Rel(realDir, realName)
	return inside, err == nil && filepath.IsLocal(inside)
}

func sources(tablespaces []Tablespace) string {
	var list []string
	for _, t := range tablespaces {
		list = append(list, t.Source)
	}
	if len(list) == 0 {
		return "no other place than the data directory"
	}
	return strings.Join(list, ", ")
}

// controlReads is how often pg_control is read in the hope of two equal
// readings in a row; a server writes it seldom.
const controlReads = 20

// readControl reads the source's pg_control as bytes that are known not to be
// half old and half new: it is the same, and its checksum right, before and
// after they were read.
func readControl(pgdata string) ([]byte, error) {
	for range controlReads {
		before, err := walcore.ReadControlFile(pgdata)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(filepath.Join(pgdata, controlFile))
		if err != nil {
			return nil, err
		}
		after, err := walcore.ReadControlFile(pgdata)
		if err != nil {
			return nil, err
		}
		if before == after {
			return content, nil
		}
	}
	return nil, errors.New("global/pg_control changes faster than it can be read")
}
