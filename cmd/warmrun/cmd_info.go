package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
)

// versionCommand prints the version.
type versionCommand struct {
	Digest bool `hidden:"" help:"Print the SHA-256 of the binary."`
}

// Run prints one line.
func (c *versionCommand) Run(p *process) error {
	if c.Digest {
		digest, err := binaryDigest()
		if err == nil {
			_, err = fmt.Fprintln(p.out, digest)
		}
		return err
	}
	_, err := fmt.Fprintf(p.out, "warmrun %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func binaryDigest() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
