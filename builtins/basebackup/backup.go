package basebackup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// mode is how a server version takes an online backup (functions-admin,
// "Backup Control Functions", in each version's documentation).
type mode struct {
	from      int // the first server_version_num
	start     string
	stop      string // one value: a JSON object, or in exclusive mode an LSN
	exclusive bool
}

var modes = []mode{
	{from: 150000,
		start: "SELECT pg_backup_start($1, $2)::text",
		stop:  "SELECT row_to_json(s)::text FROM pg_backup_stop(false) AS s"},
	{from: 100000,
		start: "SELECT pg_start_backup($1, $2, false)::text",
		stop:  "SELECT row_to_json(s)::text FROM pg_stop_backup(false, false) AS s"},
	{from: 90600, // cannot be told not to wait for the archiver
		start: "SELECT pg_start_backup($1, $2, false)::text",
		stop:  "SELECT row_to_json(s)::text FROM pg_stop_backup(false) AS s"},
	{from: 0, exclusive: true,
		start: "SELECT pg_start_backup($1, $2)::text",
		stop:  "SELECT pg_stop_backup()::text"},
}

func modeOf(version int) mode {
	for _, m := range modes {
		if version >= m.from {
			return m
		}
	}
	return modes[len(modes)-1]
}

// endTime is how long the server may take to end a backup that failed.
const endTime = 30 * time.Second

// backup is a server in backup mode.
type backup struct {
	conn   Session
	mode   mode
	start  walcore.LSN
	label  string // content of backup_label and tablespace_map, in exclusive mode
	spcmap string
}

// stopped is what the server says at the end of a backup.
type stopped struct {
	lsn    walcore.LSN
	label  string // content of backup_label
	spcmap string // content of tablespace_map; empty without tablespaces
}

// startBackup puts the server into backup mode. It returns when the checkpoint
// that the copy begins with is done.
func startBackup(ctx context.Context, conn Session, pgdata, label string, fast bool) (*backup, error) {
	if _, err := conn.Exec(ctx, "SET statement_timeout = 0"); err != nil {
		return nil, err
	}
	b := &backup{conn: conn, mode: modeOf(conn.Version())}
	text, err := textValue(conn.Value(ctx, b.mode.start, label, fast))
	if err != nil {
		return nil, fmt.Errorf("start the backup: %w", err)
	}
	if b.start, err = walcore.ParseLSN(text); err == nil && b.mode.exclusive {
		err = b.readLabel(pgdata)
	}
	if err != nil {
		return nil, b.abandon(ctx, err)
	}
	return b, nil
}

// readLabel reads the files that an exclusive backup puts into the server's
// own data directory and takes away at its end.
func (b *backup) readLabel(pgdata string) error {
	content, err := os.ReadFile(filepath.Join(pgdata, labelFile))
	if err != nil {
		return err
	}
	b.label = string(content)
	content, err = os.ReadFile(filepath.Join(pgdata, mapFile)) // new in 9.5
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.spcmap = string(content)
	return nil
}

// stop ends the backup for good. It does not wait for the archiver, where the
// version lets it. On an error the backup has been ended, or the error says
// how to end it.
func (b *backup) stop(ctx context.Context) (stopped, error) {
	text, err := textValue(b.conn.Value(ctx, b.mode.stop))
	if err != nil {
		return stopped{}, b.abandon(ctx, fmt.Errorf("end the backup: %w", err))
	}
	s := stopped{label: b.label, spcmap: b.spcmap}
	if b.mode.exclusive {
		s.lsn, err = walcore.ParseLSN(text)
		return s, err
	}
	var row struct {
		LSN        walcore.LSN
		LabelFile  string
		SpcMapFile string
	}
	if err := json.Unmarshal([]byte(text), &row); err != nil {
		return stopped{}, fmt.Errorf("the server ended the backup with %q: %w", text, err)
	}
	return stopped{lsn: row.LSN, label: row.LabelFile, spcmap: row.SpcMapFile}, nil
}

// abandon ends a backup whose copy failed for the given cause, also when ctx
// has ended. The error it returns tells how the server was left.
func (b *backup) abandon(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	_, err := b.conn.Value(ctx, b.mode.stop)
	switch {
	case err == nil, strings.Contains(err.Error(), "not in progress"):
		return fmt.Errorf("the backup was ended on the server after this failure: %w", cause)
	case b.mode.exclusive:
		err := fmt.Errorf("the server is still in backup mode (%v) after this failure: %w", err, cause)
		return hint.Wrap(err, "run SELECT pg_stop_backup() on the server")
	}
	return fmt.Errorf("the backup ends on the server with its session (%v) after this failure: %w", err, cause)
}

func (s stopped) parseLabel() (walcore.BackupLabel, error) {
	label, err := walcore.ParseBackupLabel(strings.NewReader(s.label))
	if err != nil {
		return label, fmt.Errorf("the server's backup_label cannot be read: %w", err)
	}
	return label, nil
}

func textValue(value any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("the server answered %v, not a text", value)
	}
	return text, nil
}
