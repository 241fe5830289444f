package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/warmrun/warmrun/walcore/hint"
)

// keyring gathers the keys to offer to one host.
type keyring struct {
	target target
	prompt func(string) (string, error)
	limit  *timeLimit

	agent     net.Conn // nil where there is none
	inAgent   []agentKey
	offered   []offer
	notes     []string // what is wrong with keys that are not offered
	promptErr error
}

// offer is a key that the server may accept.
type offer struct {
	signer ssh.Signer
	from   string // the file, or the agent
}

type agentKey struct {
	signer  ssh.Signer
	comment string
}

// collectKeys puts them into the order in which they are offered: keys that
// the configuration names, by the agent where it has them; the agent's other
// keys, unless IdentitiesOnly; keys that only lie where keys usually do.
// Servers count what they are offered, so the likely ones come first.
func (d *dialer) collectKeys(ctx context.Context, t target, limit *timeLimit) *keyring {
	k := &keyring{target: t, prompt: d.options.Prompt, limit: limit}
	if t.AgentSocket != "" {
		k.openAgent(ctx)
	}
	if !t.DefaultKeys {
		k.addFiles()
	}
	if !t.IdentitiesOnly {
		for _, key := range k.inAgent {
			k.add(key.signer, "agent: "+key.comment)
		}
	}
	if t.DefaultKeys {
		k.addFiles()
	}
	return k
}

// signers is the callback of ssh.PublicKeysCallback.
func (k *keyring) signers() ([]ssh.Signer, error) {
	signers := make([]ssh.Signer, len(k.offered))
	for i, o := range k.offered {
		signers[i] = o.signer
	}
	return signers, nil
}

func (k *keyring) close() {
	if k.agent != nil {
		_ = k.agent.Close() // nothing is written to it any more
	}
}

// add offers a key, once.
func (k *keyring) add(signer ssh.Signer, from string) {
	for _, have := range k.offered {
		if bytes.Equal(have.signer.PublicKey().Marshal(), signer.PublicKey().Marshal()) {
			return
		}
	}
	k.offered = append(k.offered, offer{signer, from})
}

func (k *keyring) note(format string, args ...any) {
	k.notes = append(k.notes, fmt.Sprintf(format, args...))
}

// openAgent asks the agent for its keys. An agent that does not answer is no
// error: a key file may do.
func (k *keyring) openAgent(ctx context.Context) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", k.target.AgentSocket)
	if err != nil {
		k.note("the ssh agent does not answer: %v", err)
		return
	}
	k.agent = conn
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	client := agent.NewClient(conn)
	listed, err := client.List()
	if err != nil {
		k.note("the ssh agent does not list its keys: %v", err)
		return
	}
	signers, err := client.Signers()
	if err != nil || len(signers) != len(listed) {
		k.note("the ssh agent does not offer its keys: %v", err)
		return
	}
	for i, s := range signers {
		k.inAgent = append(k.inAgent, agentKey{s, listed[i].Comment})
	}
}

func (k *keyring) addFiles() {
	certificates := k.target.Certificates
	for _, path := range k.target.Identities {
		signer, err := k.fromFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			if !k.target.DefaultKeys {
				k.note("%s does not exist", path)
			}
			continue
		}
		if err != nil {
			k.note("%s: %v", path, err)
			continue
		}
		for _, certificate := range append(certificates, path+"-cert.pub") {
			k.addCertificate(signer, certificate)
		}
		k.add(signer, path)
	}
}

// fromFile is the key in a file. It is signed for by the agent where that has
// the key too, since it needs no passphrase then.
func (k *keyring) fromFile(path string) (ssh.Signer, error) {
	if public, err := publicKeyOf(path); err == nil {
		for _, have := range k.inAgent {
			if bytes.Equal(have.signer.PublicKey().Marshal(), public.Marshal()) {
				return have.signer, nil
			}
		}
	}
	if strings.HasSuffix(path, ".pub") {
		return nil, errors.New("is a public key, and the ssh agent does not have the private one")
	}
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		return signer, err
	}
	if k.prompt == nil {
		return nil, errors.New("needs a passphrase, and there is no terminal to ask for it: add the key to an ssh agent")
	}
	public := locked.PublicKey
	if public == nil {
		if public, err = publicKeyOf(path); err != nil {
			return nil, fmt.Errorf("needs a passphrase, and its public key cannot be read: %w", err)
		}
	}
	return &lockedKey{ring: k, path: path, data: data, public: public}, nil
}

// readPrivate reads a private key that nobody else can read; ssh uses no
// other.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(stat.Uid) == os.Geteuid() && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others can read it (mode %04o): chmod 600 it", info.Mode().Perm())
	}
	return os.ReadFile(path)
}

// publicKeyOf reads the public key beside a private one, or the path itself
// where that is a public key, as for a key that only an agent has.
func publicKeyOf(path string) (ssh.PublicKey, error) {
	if !strings.HasSuffix(path, ".pub") {
		path += ".pub"
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return key, err
}

// addCertificate offers the key with the certificate, where there is one that
// belongs to it.
func (k *keyring) addCertificate(signer ssh.Signer, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		return
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	certificate, ok := key.(*ssh.Certificate)
	if err != nil || !ok {
		k.note("%s is not a certificate", path)
		return
	}
	if with, err := ssh.NewCertSigner(certificate, signer); err == nil {
		k.add(with, path)
	}
}

// explain is the error for a host that has let none of the keys in.
func (k *keyring) explain(t target, cause error) error {
	if k.promptErr != nil {
		return fmt.Errorf("log in to %s as %s: %w", t, t.User, k.promptErr)
	}
	cause = &loginError{cause}
	notes := ""
	if len(k.notes) > 0 {
		notes = "; not offered: " + strings.Join(k.notes, "; ")
	}
	if len(k.offered) == 0 {
		return hint.Wrap(fmt.Errorf("log in to %s as %s: there is no key to log in with%s: %w", t, t.User, notes, cause),
			"make one with `ssh-keygen -t ed25519` and let it in with `%s`", copyCommand(t, ""))
	}
	var offered []string
	for _, o := range k.offered {
		public := o.signer.PublicKey()
		offered = append(offered, fmt.Sprintf("%s %s (%s)", public.Type(), ssh.FingerprintSHA256(public), o.from))
	}
	err := fmt.Errorf("log in to %s as %s: none of the keys was accepted: %s%s: %w", t, t.User, strings.Join(offered, ", "), notes, cause)
	if strings.Contains(cause.Error(), "Too many authentication failures") {
		return hint.Wrap(err, "the agent offers more keys than the server tries (MaxAuthTries): set IdentityFile and IdentitiesOnly yes for this host in ~/.ssh/config")
	}
	return hint.Wrap(err, "let the key in with `%s`, and see sshd's log there for why it refused", copyCommand(t, k.offered[0].from))
}

// copyCommand is the ssh-copy-id that would let the user in.
func copyCommand(t target, file string) string {
	args := []string{"ssh-copy-id"}
	if strings.HasPrefix(file, "/") {
		args = append(args, "-i", file)
	}
	return Quote(append(args, "-p", fmt.Sprint(t.Port), t.User+"@"+t.Alias)...)
}
