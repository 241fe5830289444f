package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"github.com/warmrun/warmrun/builtins/trust"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// trustOptions name a key that ships to the node.
type trustOptions struct {
	Public  string `json:"public"`
	Comment string `json:"comment"`
	// File is where sshd on the node looks for authorized keys; empty means
	// what can be found out.
	File string `json:"file,omitempty"`
}

// trustPlace is where a node's keys are let in, and what it says of one.
type trustPlace struct {
	Account string   `json:"account"` // who the key logs in as: the server's owner
	File    string   `json:"file"`
	Basis   string   `json:"basis"`
	Doubts  []string `json:"doubts"` // why sshd may look elsewhere, or not like the file
	Line    string   `json:"line"`
	Present bool     `json:"present"`
	Changed bool     `json:"changed"`
}

func trustOperations() []operation {
	return []operation{
		onNode("trust", "look", engine.Read, "whether a key may ship to the node, and where that is written", trustLook),
		onNode("trust", "add", engine.Change, "let a key ship WAL to the node",
			func(ctx context.Context, s *session, o trustOptions) (trustPlace, error) {
				return trustEdit(ctx, s, o, trust.Line.Add)
			}),
		onNode("trust", "remove", engine.Change, "no longer let a key in",
			func(ctx context.Context, s *session, o trustOptions) (trustPlace, error) {
				return trustEdit(ctx, s, o, trust.Line.Remove)
			}),
		onNode("trust", "remove_others", engine.Change, "no longer let in the keys that this one has replaced",
			func(ctx context.Context, s *session, o trustOptions) (trustPlace, error) {
				return trustEdit(ctx, s, o, trust.Line.RemoveOthers)
			}),
	}
}

// trustLine is the line for a key on this node: only this node knows how its
// agent is to be started.
func trustLine(s *session, o trustOptions) trust.Line {
	return trust.Line{Command: s.command(s.site.Self, "agent", "--restricted"), Public: o.Public, Comment: o.Comment}
}

func trustLook(_ context.Context, s *session, o trustOptions) (trustPlace, error) {
	account, err := serverAccount()
	if err != nil {
		return trustPlace{}, err
	}
	at := trust.Find("/etc/ssh", account)
	if o.File != "" {
		at = trust.Place{Path: o.File, Basis: "--authorized-keys"}
	}
	file, err := trust.Read(at.Path)
	if err != nil {
		return trustPlace{}, err
	}
	line := trustLine(s, o)
	result := trustPlace{Account: account.Name, File: at.Path, Basis: at.Basis, Doubts: at.Doubts, Line: line.String(), Present: line.In(file)}
	if _, err := os.Stat(at.Path); err == nil {
		result.Doubts = append(result.Doubts, trust.Complaints(at.Path, account.Home)...)
	}
	return result, nil
}

func trustEdit(ctx context.Context, s *session, o trustOptions, change func(trust.Line, []byte) []byte) (trustPlace, error) {
	place, err := trustLook(ctx, s, o)
	if err != nil {
		return place, err
	}
	line := trustLine(s, o)
	place.Changed, err = trust.Edit(place.File, func(file []byte) []byte { return change(line, file) })
	if errors.Is(err, fs.ErrPermission) {
		return place, hint.Wrap(fmt.Errorf("cannot change %s (%s): %w", place.File, place.Basis, err),
			"whoever looks after that file puts this line into it, then run the command again: %s", place.Line)
	}
	if err != nil {
		return place, err
	}
	after, err := trustLook(ctx, s, o)
	after.Changed = place.Changed
	return after, err
}

// serverAccount is the account that owns the server here, which this process
// has become. Its home is the one in the user database: sshd looks at no other.
func serverAccount() (trust.Account, error) {
	if os.Geteuid() == 0 {
		return trust.Account{}, hint.Wrap(errors.New("there is no data directory yet, and the home directory belongs to root: it is not known who will own the server"),
			"log in as that account, or make the home directory its own (chown -R)")
	}
	account, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return trust.Account{}, err
	}
	return trust.Account{Name: account.Username, UID: account.Uid, Home: account.HomeDir}, nil
}
