package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/warmrun/warmrun/walcore/hint"
)

// writeKeys writes what a client needs: the private key, the known hosts, and
// an ssh_config so that `ssh -F DIR/ssh/config db1 COMMAND` works as well.
func (l *Lab) writeKeys(private []byte, public ssh.PublicKey, known []knownHost) error {
	if err := os.MkdirAll(filepath.Join(l.Dir, "ssh"), 0o700); err != nil {
		return err
	}
	var hosts, config strings.Builder
	for _, k := range known {
		fmt.Fprintf(&hosts, "[%s]:%d %s", k.node.Address, k.node.SSHPort, ssh.MarshalAuthorizedKey(k.key))
		fmt.Fprintf(&config, "Host %s\n  HostName %s\n  Port %d\n\n", k.node.Name, k.node.Address, k.node.SSHPort)
	}
	fmt.Fprintf(&config, "Host *\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n",
		l.User, l.identityFile(), l.knownHostsFile())
	return errors.Join(
		os.WriteFile(l.identityFile(), private, 0o600),
		os.WriteFile(l.identityFile()+".pub", ssh.MarshalAuthorizedKey(public), 0o600),
		os.WriteFile(l.knownHostsFile(), []byte(hosts.String()), 0o600),
		os.WriteFile(l.sshConfig(), []byte(config.String()), 0o600),
	)
}

func (l *Lab) identityFile() string   { return filepath.Join(l.Dir, "ssh", "id_ed25519") }
func (l *Lab) knownHostsFile() string { return filepath.Join(l.Dir, "ssh", "known_hosts") }
func (l *Lab) sshConfig() string      { return filepath.Join(l.Dir, "ssh", "config") }

// writeConfiguration leaves every node as its operator would have: each with
// its own saved postgresql.conf, and db1 with the site's global files. The
// others get those from distrib.
func (l *Lab) writeConfiguration() error {
	for _, n := range l.Nodes {
		path := filepath.Join(n.Home, "local", "postgresql.conf")
		if err := os.WriteFile(path, []byte(postgresqlConf(n)), 0o600); err != nil {
			return err
		}
	}
	home := l.Nodes[0].Home
	global := filepath.Join(home, "global")
	if err := os.MkdirAll(global, 0o700); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(global, "cluster.toml"), []byte(l.clusterTOML()), 0o600),
		os.WriteFile(filepath.Join(global, "pg_hba.conf"), []byte(pgHBA), 0o600),
		os.WriteFile(filepath.Join(home, "local", "node"), []byte(l.Nodes[0].Name+"\n"), 0o600),
	)
}

func (l *Lab) clusterTOML() string {
	var b strings.Builder
	b.WriteString("# The three nodes of a lab, written by warmrun lab.\n\n[cluster]\nname = 'lab'\n\n[archive]\nrequire = 'standby'\n")
	for _, n := range l.Nodes {
		fmt.Fprintf(&b, "\n[[node]]\nname = '%s'\nrole = '%s'\nhost = '%s'\nport = %d\npgdata = '%s'\nhome = '%s'\nbin_dir = '%s'\nuser = '%s'\n",
			n.Name, n.Role, n.Address, n.Port, n.PGData, n.Home, l.PGBin, l.User)
		fmt.Fprintf(&b, "[node.ssh]\nuser = '%s'\nport = %d\nidentity_file = '%s'\nknown_hosts = '%s'\n",
			l.User, n.SSHPort, l.identityFile(), l.knownHostsFile())
	}
	return b.String()
}

// pgHBA lets in who owns the node, through the node's own socket.
const pgHBA = `# TYPE  DATABASE     USER  METHOD
local   all          all   peer
local   replication  all   peer
`

// postgresqlConf is the whole of a node's postgresql.conf.
func postgresqlConf(n Node) string {
	return fmt.Sprintf(`# %s, written by warmrun lab.
listen_addresses = ''
port = %d
unix_socket_directories = '%s'
unix_socket_permissions = 0700
max_connections = 50
shared_buffers = 32MB

wal_level = replica
hot_standby = on
archive_mode = on
archive_command = '%s --home %s archive %%p %%f'
archive_timeout = 5s
checkpoint_timeout = 1min
max_wal_size = 128MB
min_wal_size = 32MB

# Whoever starts the server, its log is in one place.
logging_collector = on
log_directory = '%s'
log_filename = '%s'
log_rotation_age = 0
log_rotation_size = 0
log_line_prefix = '%%m [%%p] '
timezone = 'UTC'
log_timezone = 'UTC'
`, n.Name, n.Port, n.SocketDir, n.Binary(), n.Home, filepath.Dir(n.Log), filepath.Base(n.Log))
}

// installConfiguration puts a node's saved configuration into its data
// directory, over what initdb wrote.
func installConfiguration(n Node) error {
	return errors.Join(
		copyFile(filepath.Join(n.Home, "local", "postgresql.conf"), filepath.Join(n.PGData, "postgresql.conf"), 0o600),
		copyFile(filepath.Join(n.Home, "global", "pg_hba.conf"), filepath.Join(n.PGData, "pg_hba.conf"), 0o600),
	)
}

// installBinary puts the program on db1 and makes sure that it can be executed
// there.
func (l *Lab) installBinary(ctx context.Context, binary string) error {
	if binary == "" {
		// Not os.Executable: its path may lead through directories that are
		// closed to the user whom root has become.
		binary = "/proc/self/exe"
	}
	n := l.Nodes[0]
	if err := os.MkdirAll(filepath.Dir(n.Binary()), 0o700); err != nil {
		return err
	}
	if err := copyFile(binary, n.Binary(), 0o755); err != nil {
		return fmt.Errorf("install the program on %s: %w", n.Name, err)
	}
	cmd := l.Command(ctx, n, "version")
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EACCES) {
		return hint.Wrap(fmt.Errorf("%s cannot be executed: %w", n.Binary(), err), "%s seems to be mounted noexec; give --dir on another file system", l.Dir)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s version: %w\n%s", n.Binary(), err, indent(string(out)))
	}
	return err
}

func copyFile(from, to string, perm os.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// indent sets a program's own words off from ours.
func indent(text string) string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return "  (it printed nothing)"
	}
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}

// tail is the end of a log file, as far as there is one.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
