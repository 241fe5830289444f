package sshdtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"testing"

	"golang.org/x/crypto/ssh"
)

// WriteKey makes an ed25519 key pair: the private key at path, mode 0600 and
// encrypted where passphrase is not empty, and the public key beside it with
// .pub added. It returns the public key as a line of authorized_keys.
func WriteKey(t testing.TB, path, passphrase string) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "sshdtest")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "sshdtest", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	line := string(ssh.MarshalAuthorizedKey(key))
	write(t, path, string(pem.EncodeToMemory(block)), nil)
	write(t, path+".pub", line, nil)
	return line
}

// ensureKey returns the public key of path, and makes the pair first where it
// is missing.
func ensureKey(t testing.TB, path string, account *user.User) string {
	t.Helper()
	data, err := os.ReadFile(path + ".pub")
	if errors.Is(err, fs.ErrNotExist) {
		line := WriteKey(t, path, "")
		own(t, path, account)
		own(t, path+".pub", account)
		return line
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// write makes a file that only its owner can read; sshd and ssh insist on
// that for private keys.
func write(t testing.TB, path, content string, account *user.User) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	own(t, path, account)
}

// own gives a file to the account, where this process may.
func own(t testing.TB, path string, account *user.User) {
	t.Helper()
	if account == nil || os.Geteuid() != 0 {
		return
	}
	uid, errUID := strconv.Atoi(account.Uid)
	gid, errGID := strconv.Atoi(account.Gid)
	if err := errors.Join(errUID, errGID, os.Chown(path, uid, gid)); err != nil {
		t.Fatal(err)
	}
}
