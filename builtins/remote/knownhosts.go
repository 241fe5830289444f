package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/warmrun/warmrun/walcore/hint"
)

// UnknownHostError is a host whose key stands in none of the known_hosts
// files.
type UnknownHostError struct {
	Host        string
	KeyType     string   // as in ssh-ed25519
	Fingerprint string   // as in SHA256:...
	Files       []string // where the host was looked for
}

func (e *UnknownHostError) Error() string {
	return fmt.Sprintf("the host key of %s is not known: it shows %s %s, and the host is not in %s",
		e.Host, e.KeyType, e.Fingerprint, strings.Join(e.Files, ", "))
}

// ChangedHostError is a host that shows another key than the known one. It is
// never accepted: either the host was set up anew, or somebody stands in
// between.
type ChangedHostError struct {
	Host        string
	KeyType     string
	Fingerprint string
	Known       []KnownKey
}

// KnownKey is a key that a known_hosts file has for a host.
type KnownKey struct {
	KeyType     string
	Fingerprint string
	File        string
	Line        int
}

func (e *ChangedHostError) Error() string {
	known := make([]string, len(e.Known))
	for i, k := range e.Known {
		known[i] = fmt.Sprintf("%s %s (%s:%d)", k.KeyType, k.Fingerprint, k.File, k.Line)
	}
	return fmt.Sprintf("THE HOST KEY OF %s HAS CHANGED: it shows %s %s, but known is %s; not connecting, somebody may be listening in",
		e.Host, e.KeyType, e.Fingerprint, strings.Join(known, ", "))
}

// knownHosts checks the key of one host.
type knownHosts struct {
	target   target
	db       *knownhosts.HostKeyDB
	copies   string // a directory that the paths in db begin with, or empty
	warn     func(string)
	accepted bool  // the host has shown a key, and it was right
	refused  error // why it was not
}

// knownHosts reads the files that are there.
func (d *dialer) knownHosts(t target) (*knownHosts, error) {
	k := &knownHosts{target: t, warn: d.options.Warn}
	var files []string
	for _, path := range k.files() {
		_, err := os.ReadFile(path)
		switch {
		case err == nil:
			files = append(files, path)
		case !errors.Is(err, fs.ErrNotExist):
			k.warn(fmt.Sprintf("cannot read known hosts: %v", err))
		}
	}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		db, k.copies, err = lenientDB(files)
	}
	if err != nil {
		return nil, fmt.Errorf("read known hosts: %w", err)
	}
	k.db = db
	return k, nil
}

// path is the file that was read for one that the library names.
func (k *knownHosts) path(name string) string { return strings.TrimPrefix(name, k.copies) }

func (k *knownHosts) files() []string {
	return slices.Concat(k.target.UserKnownHosts, k.target.OtherKnownHosts)
}

// names are what to look the host up by, in that order: its HostKeyAlias, or
// its name with the port and then, as ssh does, without.
func (k *knownHosts) names() []string {
	if alias := k.target.HostKeyAlias; alias != "" {
		return []string{net.JoinHostPort(strings.ToLower(alias), "22")}
	}
	host := strings.ToLower(k.target.Host)
	names := []string{net.JoinHostPort(host, strconv.Itoa(k.target.Port))}
	if k.target.Port != 22 {
		names = append(names, net.JoinHostPort(host, "22"))
	}
	return names
}

// algorithms puts those of the known keys first: a host has keys of several
// types, and it shows the one that is asked for first. The others follow, so
// that a host that has lost the known key can be told from a broken one.
func (k *knownHosts) algorithms() []string {
	var known []string
	for _, name := range k.names() {
		known = append(known, k.db.HostKeyAlgorithms(name)...)
	}
	rest := []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
	var all []string
	for _, algorithm := range append(known, rest...) {
		if !slices.Contains(all, algorithm) {
			all = append(all, algorithm)
		}
	}
	return all
}

// check is the ssh.HostKeyCallback.
func (k *knownHosts) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	k.refused = k.judge(key)
	k.accepted = k.refused == nil
	return k.refused
}

func (k *knownHosts) judge(key ssh.PublicKey) error {
	var known []xknownhosts.KnownKey
	for i, name := range k.names() {
		// The address is not looked at, as with CheckHostIP no.
		err := k.db.HostKeyCallback()(name, &net.TCPAddr{IP: net.IPv4zero}, key)
		var wrong *xknownhosts.KeyError
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &wrong):
			return k.other(key, err)
		case i == 0:
			// A key of the host without the port may belong to another
			// server, so only a match counts there.
			known = wrong.Want
		}
	}
	switch {
	case len(known) > 0:
		return k.changed(key, known)
	case k.target.AcceptNew:
		return k.accept(key)
	}
	return k.unknown(key)
}

func (k *knownHosts) unknown(key ssh.PublicKey) error {
	t := k.target
	err := &UnknownHostError{Host: t.String(), KeyType: key.Type(), Fingerprint: ssh.FingerprintSHA256(key), Files: k.files()}
	return hint.Wrap(err, "see what the host shows with `ssh-keyscan -p %d %s | ssh-keygen -lf -`, compare it with `ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub` on the host itself, and accept it once with `%s`",
		t.Port, Quote(t.Host), keyFile(key.Type()), t.command())
}

func (k *knownHosts) changed(key ssh.PublicKey, known []xknownhosts.KnownKey) error {
	err := &ChangedHostError{Host: k.target.String(), KeyType: key.Type(), Fingerprint: ssh.FingerprintSHA256(key)}
	for _, old := range known {
		err.Known = append(err.Known, KnownKey{KeyType: old.Key.Type(), Fingerprint: ssh.FingerprintSHA256(old.Key), File: k.path(old.Filename), Line: old.Line})
	}
	return hint.Wrap(err, "ask whoever runs the host whether it has a new key; only then remove the old one with `ssh-keygen -R %s -f %s`",
		Quote(xknownhosts.Normalize(k.names()[0])), Quote(k.path(known[0].Filename)))
}

// other is for revoked keys and certificates that do not hold.
func (k *knownHosts) other(key ssh.PublicKey, err error) error {
	text := fmt.Errorf("the host key of %s (%s %s) is refused: %w", k.target, key.Type(), ssh.FingerprintSHA256(key), err)
	var revoked *xknownhosts.RevokedError
	if errors.As(err, &revoked) {
		return hint.Wrap(text, "%s:%d revokes this key; ask whoever runs the host", k.path(revoked.Revoked.Filename), revoked.Revoked.Line)
	}
	return hint.Wrap(text, "compare the host's certificate with the @cert-authority lines in %s", strings.Join(k.files(), ", "))
}

// accept adds a new host to the user's file, as StrictHostKeyChecking
// accept-new asks for.
func (k *knownHosts) accept(key ssh.PublicKey) error {
	if len(k.target.UserKnownHosts) == 0 {
		return k.unknown(key)
	}
	path := k.target.UserKnownHosts[0]
	name := xknownhosts.Normalize(k.names()[0])
	if k.target.HashKnownHosts {
		name = xknownhosts.HashHostname(name)
	}
	if err := appendLine(path, xknownhosts.Line([]string{name}, key)); err != nil {
		return hint.Wrap(fmt.Errorf("accept the host key of %s: %w", k.target, err), "make the file writable, or add the host by hand")
	}
	k.warn(fmt.Sprintf("accepted the new host key of %s (%s %s) and added it to %s", k.target, key.Type(), ssh.FingerprintSHA256(key), path))
	return nil
}

// appendLine adds a line in one write, so that several processes can do it at
// once.
func appendLine(path, line string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(old) > 0 && !bytes.HasSuffix(old, []byte("\n")) {
		line = "\n" + line
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}

// keyFile is the part of the name of the host's key file.
func keyFile(keyType string) string {
	switch {
	case strings.Contains(keyType, "ed25519"):
		return "ed25519"
	case strings.Contains(keyType, "ecdsa"):
		return "ecdsa"
	}
	return "rsa"
}
