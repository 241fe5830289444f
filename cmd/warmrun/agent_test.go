package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/ship"
)

// TestForcedAgent: an agent that sshd has forced upon its client is a
// restricted one, whatever the client asked for, and serves its own archive.
func TestForcedAgent(t *testing.T) {
	for _, test := range []struct {
		name     string
		asked    string
		flag     bool
		restrict bool
	}{
		{"by a person", "", false, false},
		{"by our line", "", true, true},
		{"by our line, with a command", "rm -rf /", true, true},
		{"by somebody else's line", "warmrun agent --archive /elsewhere", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("SSH_ORIGINAL_COMMAND", test.asked)
			archive, err := walcore.CreateArchive(t.TempDir() + "/archive")
			if err != nil {
				t.Fatal(err)
			}
			client, err := ship.Connect(t.Context(), agentHere(archive.Dir(), test.flag))
			if err != nil {
				t.Fatal(err)
			}
			if got := client.Restricted(); got != test.restrict {
				t.Errorf("restricted: got %v, want %v", got, test.restrict)
			}
			if _, err := client.List(t.Context()); err != nil {
				t.Error(err)
			}
			err = client.RaiseFence(t.Context(), walcore.Cut{Epoch: 1, Timeline: 1, LSN: 8, By: "db2"})
			if errors.Is(err, ship.ErrRestricted) != test.restrict {
				t.Errorf("raise the fence: got %v, want it refused: %v", err, test.restrict)
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// agentHere runs the command over pipes.
func agentHere(dir string, restricted bool) ship.Dialer {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		theirIn, ourOut := io.Pipe()
		ourIn, theirOut := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			var said bytes.Buffer
			p := &process{in: theirIn, out: theirOut, err: &said}
			err := (&agentCommand{Archive: dir, Restricted: restricted}).Run(ctx, p, &globals{})
			_ = theirOut.Close()
			ended <- err
		}()
		return pipes{ourIn, ourOut, ended}, nil
	}
}

type pipes struct {
	io.Reader
	io.WriteCloser
	ended chan error
}

func (p pipes) Close() error {
	return errors.Join(p.WriteCloser.Close(), <-p.ended)
}
