package ship

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
)

// preface is what either side sends before its first frame.
const preface = "warmrun ship\n"

// protocolVersion grows when old and new programs cannot talk any more.
const protocolVersion = 3

// hello is the first frame of either side.
type hello struct {
	Protocol int    `json:"protocol"`
	Program  string `json:"program"`
	// Restricted: the agent's client may only ship WAL (see AgentConfig).
	Restricted bool `json:"restricted,omitempty"`
	// Stores are the forms that the agent can store segments in, beside plain.
	Stores []packed.Form `json:"stores,omitempty"`
}

// operation is what a request asks for.
type operation string

const (
	opPut          operation = "put"
	opGet          operation = "get"
	opList         operation = "list"
	opDigest       operation = "digest"
	opStamp        operation = "stamp"
	opFence        operation = "fence"
	opRaiseFence   operation = "raise_fence"
	opLowerFence   operation = "lower_fence"
	opChain        operation = "chain"
	opWatermark    operation = "watermark"
	opSetWatermark operation = "set_watermark"
	opProvisionals operation = "provisionals"
	opPing         operation = "ping"
)

// request is everything that a client can say. Which fields count depends on
// Op.
type request struct {
	Op          operation           `json:"op"`
	Name        walcore.FileName    `json:"name,omitempty"`
	Size        int64               `json:"size,omitempty"`
	Digest      digest              `json:"digest,omitzero"`
	Provisional walcore.LSN         `json:"provisional,omitempty"`
	Form        packed.Form         `json:"form,omitempty"` // how to store it
	Cut         walcore.Cut         `json:"cut,omitzero"`
	Epoch       uint64              `json:"epoch,omitempty"`
	Segment     walcore.SegmentName `json:"segment,omitempty"`
}

// The replies that have a form of their own.
type (
	// offerReply answers an offered file.
	offerReply struct {
		Send bool `json:"send"` // else the archive has it already
		// Known: there is a file of that name; the digest decides whether it
		// is the same, so the offer has to be made again with one.
		Known bool `json:"known,omitempty"`
	}
	// fileReply goes before the data of a file.
	fileReply struct {
		Size        int64       `json:"size"`
		Provisional walcore.LSN `json:"provisional,omitempty"`
	}
	digestReply struct {
		Digest digest `json:"digest"`
		Size   int64  `json:"size"`
	}
	stampReply struct {
		Stamp   walcore.Stamp `json:"stamp"`
		Stamped bool          `json:"stamped"`
	}
	watermarkReply struct {
		Segment walcore.SegmentName `json:"segment"`
		Noted   bool                `json:"noted"`
	}
)

// digest is a BLAKE3 hash, in hexadecimal digits in JSON.
type digest [32]byte

func (d digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

func (d *digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) {
		return fmt.Errorf("%d characters are no digest", len(text))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// failure is an error on its way to the client.
type failure struct {
	Kind    failureKind           `json:"kind"`
	Message string                `json:"message"`
	Hint    string                `json:"hint,omitempty"`
	Refused *walcore.RefusedError `json:"refused,omitempty"`
	Space   *walcore.SpaceError   `json:"space,omitempty"`
}

type failureKind string

const (
	failRefused     failureKind = "refused"
	failSpace       failureKind = "no space"
	failNoArchive   failureKind = "no archive"
	failNotArchived failureKind = "not archived"
	failRestricted  failureKind = "restricted"
	failProtocol    failureKind = "protocol"
	failOther       failureKind = "other"
)

func failureOf(err error) failure {
	f := failure{Kind: failOther, Message: err.Error(), Hint: cmp.Or(hint.Of(err), hint.File(err))}
	switch {
	case errors.As(err, &f.Refused):
		f.Kind = failRefused
	case errors.As(err, &f.Space):
		f.Kind = failSpace
	case errors.Is(err, walcore.ErrNoArchive):
		f.Kind = failNoArchive
	case errors.Is(err, walcore.ErrNotArchived):
		f.Kind = failNotArchived
	case errors.Is(err, ErrRestricted):
		f.Kind = failRestricted
	case errors.Is(err, errProtocol):
		f.Kind = failProtocol
	}
	return f
}

// remoteError is an error of the agent's with what it means to errors.Is.
type remoteError struct {
	message string
	means   error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.means }

// err is the error as the agent had it, with its type and hint.
func (f failure) err() error {
	f = f.clean()
	var err error = &remoteError{message: f.Message}
	switch {
	case f.Kind == failRefused && f.Refused != nil:
		err = f.Refused
	case f.Kind == failSpace && f.Space != nil:
		err = f.Space
	case f.Kind == failNoArchive:
		err = &remoteError{f.Message, walcore.ErrNoArchive}
	case f.Kind == failNotArchived:
		err = &remoteError{f.Message, walcore.ErrNotArchived}
	case f.Kind == failRestricted:
		err = &remoteError{f.Message, ErrRestricted}
	case f.Kind == failProtocol:
		err = &remoteError{f.Message, errProtocol}
	}
	if f.Hint == "" {
		return err
	}
	return hint.Wrap(err, "%s", f.Hint)
}

func (f *frames) sendJSON(kind byte, request uint32, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return f.send(kind, request, data)
}

func decode(payload []byte, into any) error {
	if err := json.Unmarshal(payload, into); err != nil {
		return protocolError("a message that cannot be understood (%v)", err)
	}
	return nil
}

// greet sends the preface and this side's versions; h lacks only the protocol's.
func (f *frames) greet(h hello) error {
	f.mu.Lock()
	_, err := f.out.WriteString(preface)
	f.mu.Unlock()
	if err != nil {
		return err
	}
	h.Protocol = protocolVersion
	return f.sendJSON(frameHello, 0, h)
}

// greeting reads what greet of the other side sent.
func (f *frames) greeting() (hello, error) {
	got := make([]byte, len(preface))
	n, err := io.ReadFull(f.in, got)
	if !bytes.HasPrefix([]byte(preface), got[:n]) {
		rest, _ := f.in.Peek(min(f.in.Buffered(), 200)) // what is there is all that can be shown
		return hello{}, protocolError("it began with %q", append(got[:n], rest...))
	}
	if err != nil {
		return hello{}, err
	}
	first, err := f.read(nil)
	if err != nil {
		return hello{}, noEOF(err)
	}
	var h hello
	if first.kind != frameHello {
		return hello{}, protocolError("it began with a frame of type %q", first.kind)
	}
	err = decode(first.payload, &h)
	h.Program = clean(h.Program, maxWord)
	return h, err
}

// checkVersion compares the protocols of the two sides.
func (h hello) checkVersion() error {
	if h.Protocol == protocolVersion {
		return nil
	}
	return hint.Wrap(protocolError("the other node's warmrun (%s) speaks version %d of the shipping protocol, this one version %d", h.Program, h.Protocol, protocolVersion),
		"bring the same warmrun to all nodes with distrib")
}
