package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/builtins/health"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// maxSecret bounds a secret: a file that is longer is another one.
const maxSecret = 64 << 10

// readSecret reads the file that a parameter of kind secret names: below the
// home directory unless it begins with a slash. A file that others can read is
// refused, as ssh refuses such a key. The end of the line is not part of it.
func readSecret(site *cluster.Site, name string) (engine.Secret, error) {
	path := name
	if !filepath.IsAbs(path) {
		if site == nil {
			return engine.Secret{}, fmt.Errorf("the secret %s: without a home directory its path must begin with a slash", name)
		}
		path = filepath.Join(site.Home, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return engine.Secret{}, hint.Wrap(fmt.Errorf("read a secret: %w", err), "write the secret into that file, readable by this account only, or take the parameter or extension that asks for it away: warmrun runbook list")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return engine.Secret{}, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return engine.Secret{}, hint.Wrap(fmt.Errorf("the secret in %s can be read by others (mode %04o)", path, info.Mode().Perm()),
			"chmod 600 %s; where others have seen it, make another one", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return engine.Secret{}, err
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" || len(text) > maxSecret {
		return engine.Secret{}, errors.New(path + " holds no secret: it is empty, or longer than one can be")
	}
	return engine.NewSecret(secret), nil
}

// siteSecrets tries to read what the parameters of kind secret name by their
// defaults, in the runbooks that the site has written or extended: none that came
// with the program has one.
func siteSecrets(ctx context.Context, s *session) ([]health.Secret, error) {
	names, err := runbookNames(s.site)
	if err != nil {
		return nil, err
	}
	at := s.setting()
	host := s.host(at)
	var secrets []health.Secret
	for _, name := range names {
		v, err := lookAt(s.site, name)
		if err != nil {
			return secrets, err
		}
		if !v.hasOwn && len(v.extensions) == 0 {
			continue
		}
		book, err := loadWith(ctx, s, at, host, name)
		if err != nil {
			return secrets, fmt.Errorf("runbook %s cannot be loaded: %w", name, err)
		}
		for _, p := range book.Params {
			if p.Type == "secret" && p.HasDefault {
				secrets = append(secrets, trySecret(s.site, name, p))
			}
		}
	}
	return secrets, nil
}

func trySecret(site *cluster.Site, book string, p engine.Param) health.Secret {
	tried := health.Secret{Runbook: book, Flag: p.Flag(), Needed: !p.Dispensable}
	if _, err := readSecret(site, p.Default); err != nil {
		tried.Error, tried.Hint = oneLine(err), hint.Of(err)
	}
	return tried
}
