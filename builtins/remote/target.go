package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// target is everything that is to be known before one hop is made.
type target struct {
	Alias string // the host as it was asked for
	Host  string // the host to connect to
	Port  int
	User  string

	ProxyJump    string
	ProxyCommand string

	Identities      []string // private keys, in the order to offer them
	DefaultKeys     bool     // Identities are only where keys usually lie
	Certificates    []string
	IdentitiesOnly  bool
	AgentSocket     string
	HostKeyAlias    string
	UserKnownHosts  []string
	OtherKnownHosts []string // looked at, never added to
	HashKnownHosts  bool
	AcceptNew       bool // StrictHostKeyChecking accept-new

	ConnectTimeout time.Duration
	AliveInterval  time.Duration
	AliveCount     int

	// flags are what cluster.toml adds to a plain ssh command.
	flags []string
}

// Defaults that differ from OpenSSH's, which waits for ever in both cases.
const (
	defaultConnectTimeout = 15 * time.Second
	defaultAliveInterval  = 15 * time.Second
	defaultAliveCount     = 3
)

// String is the host and port as messages name them.
func (t target) String() string {
	address := t.address()
	if t.Alias != t.Host && t.Alias != "" {
		return t.Alias + " (" + address + ")"
	}
	return address
}

func (t target) address() string { return net.JoinHostPort(t.Host, strconv.Itoa(t.Port)) }

// command is the ssh command a user would type to make the same connection.
func (t target) command(extra ...string) string {
	args := append([]string{"ssh"}, extra...)
	args = append(args, "-p", strconv.Itoa(t.Port))
	args = append(args, t.flags...)
	return Quote(append(args, t.User+"@"+t.Alias)...)
}

// resolve finds out how to reach a host: what cluster.toml says, then the
// user's ssh_config and the system's, then the defaults.
func (d *dialer) resolve(ctx context.Context, alias string, explicit cluster.SSH) (target, error) {
	local, err := localUser()
	if err != nil {
		return target{}, err
	}
	l := &lookup{options: d.options, alias: alias, user: explicit.User, local: local.Username}
	if err := l.load(ctx); err != nil {
		return target{}, err
	}
	t := target{Alias: alias, Host: l.hostName(), User: l.remoteUser(), Port: explicit.Port}
	if t.Port == 0 {
		if t.Port, err = l.number("port", 22); err != nil {
			return t, err
		}
	}
	expand := l.tokens(strconv.Itoa(t.Port))
	t.ProxyJump, t.ProxyCommand = l.get("proxyjump"), expand.expand(l.get("proxycommand"))
	if explicit.ProxyJump != "" {
		t.ProxyJump, t.ProxyCommand = explicit.ProxyJump, ""
		t.flags = append(t.flags, "-J", explicit.ProxyJump)
	}
	t.setKeys(l, expand, explicit.IdentityFile)
	t.setKnownHosts(l, expand, explicit.KnownHosts)
	return t, t.setTimes(l)
}

func (t *target) setKeys(l *lookup, expand tokens, explicit string) {
	if explicit != "" {
		t.Identities = append(t.Identities, l.options.tilde(explicit))
		t.flags = append(t.flags, "-i", explicit)
	}
	for _, s := range l.values["identityfile"] {
		if !strings.EqualFold(s.value, "none") {
			t.Identities = append(t.Identities, expand.path(s.value))
		}
	}
	if len(t.Identities) == 0 {
		t.DefaultKeys = true
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			t.Identities = append(t.Identities, filepath.Join(l.options.HomeDir, ".ssh", name))
		}
	}
	for _, s := range l.values["certificatefile"] {
		t.Certificates = append(t.Certificates, expand.path(s.value))
	}
	t.IdentitiesOnly = isYes(l.get("identitiesonly"))
	switch agent := l.get("identityagent"); {
	case agent == "" || agent == "SSH_AUTH_SOCK":
		t.AgentSocket = l.options.Getenv("SSH_AUTH_SOCK")
	case strings.EqualFold(agent, "none"):
	case strings.HasPrefix(agent, "$") && !strings.HasPrefix(agent, "${"):
		t.AgentSocket = l.options.Getenv(agent[1:])
	default:
		t.AgentSocket = expand.path(agent)
	}
}

// offerOnly makes one key all that is offered.
func (t *target) offerOnly(path string) {
	t.Identities, t.DefaultKeys, t.Certificates = []string{path}, false, nil
	t.IdentitiesOnly, t.AgentSocket = true, ""
}

func (t *target) setKnownHosts(l *lookup, expand tokens, explicit string) {
	t.HostKeyAlias = l.get("hostkeyalias")
	t.HashKnownHosts = isYes(l.get("hashknownhosts"))
	switch strings.ToLower(l.get("stricthostkeychecking")) {
	case "accept-new", "no", "off":
		// "no" would accept a changed key as well; that is never done.
		t.AcceptNew = true
	}
	if explicit != "" {
		t.UserKnownHosts = []string{l.options.tilde(explicit)}
		t.flags = append(t.flags, "-o", "UserKnownHostsFile="+explicit)
		return
	}
	files := func(key string, usual ...string) []string {
		var paths []string
		words := splitWords(l.get(key))
		if len(words) == 0 {
			return usual
		}
		for _, word := range words {
			if !strings.EqualFold(word, "none") {
				paths = append(paths, expand.path(word))
			}
		}
		return paths
	}
	home, system := filepath.Join(l.options.HomeDir, ".ssh"), l.options.SystemDir
	t.UserKnownHosts = files("userknownhostsfile", filepath.Join(home, "known_hosts"), filepath.Join(home, "known_hosts2"))
	t.OtherKnownHosts = files("globalknownhostsfile", filepath.Join(system, "ssh_known_hosts"), filepath.Join(system, "ssh_known_hosts2"))
}

func (t *target) setTimes(l *lookup) error {
	var errs [3]error
	t.ConnectTimeout, errs[0] = l.duration("connecttimeout", defaultConnectTimeout)
	alive := defaultAliveInterval
	if l.options.AliveInterval > 0 {
		alive = l.options.AliveInterval
	}
	t.AliveInterval, errs[1] = l.duration("serveraliveinterval", alive)
	t.AliveCount, errs[2] = l.number("serveralivecountmax", defaultAliveCount)
	if l.options.ConnectTimeout > 0 {
		t.ConnectTimeout = l.options.ConnectTimeout
	}
	return errors.Join(errs[:]...)
}

// number reads a keyword's value; 0 is taken for not set.
func (l *lookup) number(key string, usual int) (int, error) {
	value := l.get(key)
	if value == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 65535 {
		return 0, hint.Wrap(fmt.Errorf("%s: %s is %q, not a number", l.where(key), key, value), "correct the line")
	}
	if n == 0 {
		return usual, nil
	}
	return n, nil
}

// duration reads seconds, or a time like 1m30s (sshd_config(5), TIME FORMATS).
// "none" and 0 stand for the usual value: a dead peer must be noticed.
func (l *lookup) duration(key string, usual time.Duration) (time.Duration, error) {
	value := strings.ToLower(l.get(key))
	if value == "" || value == "0" || value == "none" {
		return usual, nil
	}
	text := value
	if strings.Trim(text, "0123456789") == "" {
		text += "s"
	}
	n, err := time.ParseDuration(text)
	if err != nil || n <= 0 {
		return 0, hint.Wrap(fmt.Errorf("%s: %s is %q, not a time in seconds", l.where(key), key, value), "correct the line")
	}
	return n, nil
}

func isYes(value string) bool {
	return strings.EqualFold(value, "yes") || strings.EqualFold(value, "true")
}

// tokens are the percent signs of ssh_config(5), TOKENS, and the variables.
type tokens struct {
	percent *strings.Replacer
	options Options
}

// tokens for a host that has its port, or not yet: then %p is 22's place.
func (l *lookup) tokens(port string) tokens {
	if port == "" {
		if port = l.get("port"); port == "" {
			port = "22"
		}
	}
	host := l.hostName()
	keyAlias := l.get("hostkeyalias")
	if keyAlias == "" {
		keyAlias = l.alias
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	short, _, _ := strings.Cut(name, ".")
	return tokens{options: l.options, percent: strings.NewReplacer("%%", "%",
		"%h", host, "%n", l.alias, "%p", port, "%r", l.remoteUser(), "%u", l.local,
		"%d", l.options.HomeDir, "%i", strconv.Itoa(os.Geteuid()), "%k", keyAlias,
		"%l", name, "%L", short, "%j", l.get("proxyjump"))}
}

func (t tokens) expand(s string) string { return t.percent.Replace(s) }

// path expands everything that the name of a file may hold.
func (t tokens) path(s string) string {
	s = os.Expand(s, func(name string) string { return t.options.Getenv(name) })
	return t.options.tilde(t.expand(s))
}

// tilde puts the home directory in the place of a leading ~.
func (o Options) tilde(path string) string {
	if path == "~" {
		return o.HomeDir
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(o.HomeDir, rest)
	}
	return path
}
