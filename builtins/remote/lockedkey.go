package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

// lockedKey asks for its passphrase when the server has said that it would
// accept the key, and not before.
type lockedKey struct {
	ring   *keyring
	path   string
	data   []byte
	public ssh.PublicKey
	open   ssh.Signer
}

// PublicKey is part of ssh.Signer.
func (l *lockedKey) PublicKey() ssh.PublicKey { return l.public }

// Sign is part of ssh.Signer.
func (l *lockedKey) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return l.SignWithAlgorithm(rand, data, "")
}

// SignWithAlgorithm is part of ssh.AlgorithmSigner, which RSA keys need for
// anything newer than SHA-1.
func (l *lockedKey) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if l.open == nil {
		if err := l.unlock(); err != nil {
			l.ring.promptErr = err
			return nil, err
		}
	}
	if signer, ok := l.open.(ssh.AlgorithmSigner); ok {
		return signer.SignWithAlgorithm(rand, data, algorithm)
	}
	return l.open.Sign(rand, data)
}

// unlock asks up to three times, as ssh does. Neither the user's time nor that
// for deriving a key from the answer is the server's.
func (l *lockedKey) unlock() error {
	for range 3 {
		var asked, err error
		l.ring.limit.without(func() {
			var answer string
			if answer, asked = l.ring.prompt("passphrase for key " + l.path + ": "); asked == nil {
				l.open, err = ssh.ParsePrivateKeyWithPassphrase(l.data, []byte(answer))
			}
		})
		switch {
		case asked != nil:
			return fmt.Errorf("ask for the passphrase of %s: %w", l.path, asked)
		case err == nil:
			return nil
		case !errors.Is(err, x509.IncorrectPasswordError):
			return fmt.Errorf("%s: %w", l.path, err)
		}
	}
	return fmt.Errorf("the passphrase of %s was wrong three times", l.path)
}
