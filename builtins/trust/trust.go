// Package trust makes the key that a node ships its WAL with, and lets it in on
// another node for that and nothing else.
//
// Terms:
//
//   - key pair: one for each destination, so that each can be renewed or taken
//     away by itself. It has no passphrase: the server uses it unattended.
//   - line: one key's line in a file of authorized keys (sshd(8),
//     AUTHORIZED_KEYS FILE FORMAT). Ours has a forced command, which sshd runs
//     whatever the client asks for, and the option restrict, which denies
//     terminals and every kind of forwarding.
//   - next key: one that has been made and is not yet used, because the other
//     node has not been seen to let it in.
package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Keys is the directory that holds the key pair for one destination.
type Keys struct {
	Dir string
}

// Key is one pair.
type Key struct {
	// Path is that of the private key.
	Path string
	// Public is the public key as it stands in a line: type and base64.
	Public      string
	Fingerprint string // SHA256:...
}

// Path is where the private key lies that is in use, if there is one.
func (k Keys) Path() string { return filepath.Join(k.Dir, "id_ed25519") }

func (k Keys) next() string { return filepath.Join(k.Dir, "next_ed25519") }

func (k Keys) account() string { return filepath.Join(k.Dir, "account") }

// Current is the key in use; the error is fs.ErrNotExist where there is none.
func (k Keys) Current() (Key, error) { return load(k.Path()) }

// Account is who the key in use logs in as.
func (k Keys) Account() (string, error) {
	data, err := os.ReadFile(k.account())
	return strings.TrimSpace(string(data)), err
}

// File is the file of authorized keys on the other node that was named when the
// key was let in; empty where none was.
func (k Keys) File() (string, error) {
	data, err := os.ReadFile(k.file())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

// NoteFile remembers what File returns.
func (k Keys) NoteFile(path string) error {
	return atomicfile.WriteFile(k.file(), []byte(path+"\n"), 0o600)
}

func (k Keys) file() string { return filepath.Join(k.Dir, "authorized_keys") }

// Next is the key that waits to be used. It is made, durably, where there is
// none; a key that is there is never overwritten.
func (k Keys) Next(comment string) (key Key, made bool, err error) {
	key, err = load(k.next())
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if err := atomicfile.MkdirAll(k.Dir, 0o700); err != nil {
		return Key{}, false, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, false, err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return Key{}, false, err
	}
	if err := atomicfile.WriteFile(k.next(), pem.EncodeToMemory(block), 0o600); err != nil {
		return Key{}, false, err
	}
	key, err = load(k.next())
	return key, err == nil, err
}

// Use puts the next key in the place of the one in use, in one step. Each step
// leaves a pair that can be used.
func (k Keys) Use(next Key, account, comment string) (Key, error) {
	if err := atomicfile.WriteFile(k.account(), []byte(account+"\n"), 0o600); err != nil {
		return Key{}, err
	}
	if next.Path != k.Path() {
		if err := atomicfile.Rename(next.Path, k.Path()); err != nil {
			return Key{}, err
		}
		next.Path = k.Path()
	}
	return next, atomicfile.WriteFile(k.Path()+".pub", []byte(next.Public+" "+comment+"\n"), 0o644)
}

// Forget destroys all keys of the destination.
func (k Keys) Forget() error {
	for _, path := range []string{k.Path(), k.next(), k.Path() + ".pub", k.account(), k.file()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return atomicfile.SyncDir(k.Dir)
}

func load(path string) (Key, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Key{}, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return Key{}, hint.Wrap(fmt.Errorf("%s is no private key that can be used: %w", path, err), "move it aside, and run warmrun trust again")
	}
	public := signer.PublicKey()
	return Key{
		Path: path, Fingerprint: ssh.FingerprintSHA256(public),
		Public: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))),
	}, nil
}
