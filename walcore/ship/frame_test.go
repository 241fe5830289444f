package ship

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// pipe is a stream of which both directions are buffers.
type pipe struct {
	io.Reader
	io.Writer
}

func frameOf(t testing.TB, kind byte, payload string) []byte {
	t.Helper()
	var b bytes.Buffer
	f := newFrames(pipe{nil, &b})
	if err := f.send(kind, 1, []byte(payload)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFrames(t *testing.T) {
	long := strings.Repeat("x", maxPayload)
	var stream []byte
	for _, payload := range []string{"", "hello", long} {
		stream = append(stream, frameOf(t, frameData, payload)...)
	}
	f := newFrames(pipe{bytes.NewReader(stream), nil})
	for _, want := range []string{"", "hello", long} {
		got, err := f.read(nil)
		if err != nil || got.kind != frameData || got.request != 1 || string(got.payload) != want {
			t.Fatalf("got %q of request %d, %d bytes, %v, want %d bytes", got.kind, got.request, len(got.payload), err, len(want))
		}
	}
	if _, err := f.read(nil); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
	if err := newFrames(pipe{nil, io.Discard}).write(frameData, 1, make([]byte, maxPayload+1)); err == nil {
		t.Error("a frame that is too long: got no error")
	}
}

func TestDamagedFrames(t *testing.T) {
	good := frameOf(t, frameData, "hello, world")
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 4
		_, err := newFrames(pipe{bytes.NewReader(bad), nil}).read(nil)
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("bit flipped in byte %d: got %v, want an error", i, err)
		}
	}
	for n := 1; n < len(good); n++ {
		_, err := newFrames(pipe{bytes.NewReader(good[:n]), nil}).read(nil)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: got %v, want io.ErrUnexpectedEOF", n, err)
		}
	}
	huge := slices.Clone(good)
	binary.BigEndian.PutUint32(huge, 1<<31)
	if _, err := newFrames(pipe{bytes.NewReader(huge), nil}).read(nil); !errors.Is(err, errProtocol) {
		t.Errorf("a frame of two gigabytes: got %v, want errProtocol", err)
	}
}

func TestGreetings(t *testing.T) {
	other := append([]byte(preface), frameOf(t, frameHello, `{"protocol":99,"program":"v9"}`)...)
	tests := []struct{ name, answer, want string }{
		{"a shell that talks", "Welcome to db2!\nYou have mail.\n", "Welcome to db2!"},
		{"nothing", "", "the agent closed the connection"},
		{"half a greeting", preface[:5], "unexpected EOF"},
		{"no hello", preface + string(frameOf(t, frameReply, "{}")), "broke the protocol"},
		{"a hello that is none", preface + string(frameOf(t, frameHello, "{")), "broke the protocol"},
		{"another version", string(other), "speaks version 99"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dial := func(context.Context) (io.ReadWriteCloser, error) {
				return closer{pipe{strings.NewReader(tt.answer), io.Discard}, errors.New("exit status 127")}, nil
			}
			_, err := Connect(t.Context(), dial)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want it to say %q", err, tt.want)
			}
			if !strings.Contains(err.Error(), "exit status 127") || strings.Contains(err.Error(), "\n") || hint.Of(err) == "" {
				t.Errorf("want how the agent ended, on one line, and a hint; got %q, hint %q", err, hint.Of(err))
			}
		})
	}
}

type closer struct {
	pipe
	err error
}

func (c closer) Close() error { return c.err }
