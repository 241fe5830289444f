package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

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

// TestAgentEnds: an agent whose client says nothing ends when it is told to.
func TestAgentEnds(t *testing.T) {
	archive, err := walcore.CreateArchive(t.TempDir() + "/archive")
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("warmrun")
	if err != nil {
		t.Fatal(err)
	}
	// What this process ignores, as under nohup, its children would ignore, too; what it
	// catches does to them what it always does (execve(2)).
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		cmd := exec.Command(program, "agent", "--archive", archive.Dir())
		_, err := ship.Connect(t.Context(), func(context.Context) (io.ReadWriteCloser, error) {
			in, inErr := cmd.StdinPipe()
			out, outErr := cmd.StdoutPipe()
			return agentProcess{in, out}, errors.Join(inErr, outErr, cmd.Start())
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Error(err)
		}
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		if state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || state.Signal() != sig {
			t.Errorf("%s: the agent ended with %v", sig, err)
		}
		late.Stop()
	}
}

// agentProcess is the stream to an agent that is a process.
type agentProcess struct {
	io.WriteCloser
	io.Reader
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

// TestClosableStdio: a read of a pipe from which nothing comes ends with Close,
// as does a write to one that is full. A plain file is served as it is.
func TestClosableStdio(t *testing.T) {
	in, silent := pipe(t)
	full, out := pipe(t)
	s, ok := stdio{in, out}.closable().(closableStdio)
	if !ok {
		t.Fatal("pipes cannot be closed while they are waited for")
	}
	ended := make(chan error, 2)
	go func() {
		_, err := s.Read(make([]byte, 1))
		ended <- err
	}()
	go func() {
		_, err := s.Write(make([]byte, 8<<20))
		ended <- err
	}()
	if _, err := full.Read(make([]byte, 1)); err != nil { // so the write is under way
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		select {
		case err := <-ended:
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("got %v, want that it was closed", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a read or write goes on after Close")
		}
	}
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := (stdio{file, silent}).closable().(stdio); !ok {
		t.Error("a plain file was taken for one that can be waited for")
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

// pipe makes a pipe in the mode that a process's standard files have.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() }) // nothing was promised
	return r, w
}
