package ship

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/packed"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// peakEnv names the file into which an agent process writes the most memory
// that it held.
const peakEnv = "WARMRUN_TEST_PEAK"

// writePeak keeps what the kernel says of this process (VmHWM, proc(5)).
func writePeak(path string) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || path == "" {
		return err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return os.WriteFile(path, []byte(kilobytes), 0o600)
}

// TestHostileClient: whatever a client sends, the agent holds little memory
// and stores nothing. Each client gets a process of its own, whose memory the
// kernel has counted.
func TestHostileClient(t *testing.T) {
	request := func(text string) []byte { return frameOf(t, frameRequest, text) }
	offer := request(fmt.Sprintf(`{"op":"put","name":"%s","size":1048576}`, seg2))
	block := frameOf(t, frameData, strings.Repeat("x", maxPayload))
	packs := func(form packed.Form) []byte {
		return request(fmt.Sprintf(`{"op":"put","name":"%s","size":1073741824,"form":"%s"}`, seg2, form))
	}
	blank := frameOf(t, frameZeros, "\x00\x10\x00\x00")
	bomb := frameOf(t, frameZstd, string(zstdBomb(t)))
	clients := []struct {
		name  string
		first []byte
		again []byte
		times int // how often it is sent
	}{
		{"nothing", nil, nil, 0},
		{"a frame of four gigabytes", []byte{0xff, 0xff, 0xff, 0xff, frameRequest, 0, 0, 0, 0}, nil, 0},
		{"a preface without end", nil, []byte(preface), 100000},
		{"requests of a megabyte", nil, request(`{"op":"ping","by":[` + strings.Repeat(`[],`, maxPayload/3-20) + `0]}`), 48},
		{"requests nested deeply", nil, request(strings.Repeat(`{"cut":`, maxPayload/8)), 48},
		{"a name of a megabyte", nil, request(`{"op":"get","name":"` + strings.Repeat("0", maxPayload-40) + `"}`), 48},
		{"a file without end", offer, block, 48},
		{"a file of empty pieces", offer, frameOf(t, frameData, ""), 100000},
		{"the largest segment, over and over", nil, request(fmt.Sprintf(`{"op":"put","name":"%s","size":1073741824}`, seg2)), 500},
		{"a history of one long line", request(`{"op":"put","name":"00000002.history","size":4194304}`), block, 48},
		{"a packed file without end", packs(packed.Zstd), block, 48},
		{"zeros to be packed, without end", packs(packed.LZ4), blank, 2000},
		{"a bomb", packs(packed.Zstd), bomb, 48},
		{"frames of nothing", packs(packed.Zstd), frameOf(t, frameZstd, string(zstdNothing())), 100000},
		{"lists, over and over", nil, request(`{"op":"list"}`), 500},
		{"a file, got over and over", nil, request(fmt.Sprintf(`{"op":"get","name":"%s"}`, seg1)), 300},
	}
	const most = 32 << 10 // kilobytes more than an agent that is only greeted
	base := 0
	for i, client := range clients {
		a := newArchive(t)
		mustPut(t, a, walcore.FileName(seg1), segment(storetest.Segment{Name: seg1}), 0)
		took := hostile(t, a.Dir(), client.first, client.again, client.times)
		if i == 0 {
			base = took
		}
		t.Logf("%s: %d kB", client.name, took)
		if took > base+most {
			t.Errorf("%s: the agent held %d kB, want %d at most", client.name, took, base+most)
		}
		if got := listed(t, a); got != string(seg1) {
			t.Errorf("%s: the archive holds %q, want %s alone", client.name, got, seg1)
		}
	}
}

// zstdBomb is a small frame of 64 MB, zstdNothing one of no content and much
// room for it: a megabyte that is to be skipped.
func zstdBomb(t *testing.T) []byte {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return encoder.EncodeAll(make([]byte, 64<<20), nil)
}

func zstdNothing() []byte {
	skip := binary.LittleEndian.AppendUint32(nil, 0x184D2A50)
	return append(binary.LittleEndian.AppendUint32(skip, 4000), make([]byte, 4000)...)
}

// hostile talks to an agent and returns the most memory it held, in kilobytes.
func hostile(t *testing.T, dir string, first, again []byte, times int) int {
	t.Helper()
	peak := filepath.Join(t.TempDir(), "peak")
	t.Setenv(peakEnv, peak)
	p, err := startAgent(context.WithoutCancel(t.Context()), dir)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, p)
		read <- err
	}()
	say := append([]byte(preface), frameOf(t, frameHello, `{"protocol":3}`)...)
	_, err = p.Write(append(say, first...))
	for sent := 0; err == nil && sent < times; {
		some := min(times-sent, max(1, (64<<10)/len(again)))
		_, err = p.Write(bytes.Repeat(again, some))
		sent += some
	}
	// It hangs up on most of them; how it ends says nothing.
	_ = p.WriteCloser.Close()
	<-read
	_ = p.cmd.Wait()
	text, err := os.ReadFile(peak)
	kilobytes, parseErr := strconv.Atoi(string(text))
	if err := errors.Join(err, parseErr); err != nil {
		t.Fatal(err)
	}
	return kilobytes
}

// TestHostileAgent: what an agent answers is not believed either.
func TestHostileAgent(t *testing.T) {
	reply := func(text string) []byte { return frameOf(t, frameReply, text) }
	block := frameOf(t, frameData, strings.Repeat("x", 1000))
	tests := []struct {
		name   string
		answer []byte
		ask    func(context.Context, *Client) error
	}{
		{"a file that is longer than announced", append(reply(`{"size":1500}`), bytes.Repeat(block, 2)...),
			func(ctx context.Context, c *Client) error {
				_, err := c.Get(ctx, "00000002.history", io.Discard)
				return err
			}},
		{"a file larger than any", reply(`{"size":1073741825}`),
			func(ctx context.Context, c *Client) error {
				_, err := c.Get(ctx, "00000002.history", io.Discard)
				return err
			}},
		{"a list with a path in it", append(reply(`{}`), frameOf(t, frameData, "../../outside\n")...),
			func(ctx context.Context, c *Client) error { _, err := c.List(ctx); return err }},
		{"a chain without a segment size", reply(`{"last":"000000010000000000000001","segments":2}`),
			func(ctx context.Context, c *Client) error { _, err := c.Chain(ctx, seg1); return err }},
		{"a chain of other names", reply(`{"segment_size":1048576,"gaps":[{"want":"1"}]}`),
			func(ctx context.Context, c *Client) error { _, err := c.Chain(ctx, seg1); return err }},
		{"a provisional segment that is a path", reply(`{"../../outside":"0/8"}`),
			func(ctx context.Context, c *Client) error { _, err := c.Provisionals(ctx); return err }},
		{"a watermark that is none", reply(`{"segment":"x","noted":true}`),
			func(ctx context.Context, c *Client) error { _, _, err := c.Watermark(ctx); return err }},
	}
	hello := append([]byte(preface), frameOf(t, frameHello, `{"protocol":3}`)...)
	agent := func(answer []byte) *Client {
		return connect(t, func(context.Context) (io.ReadWriteCloser, error) {
			return closer{pipe{bytes.NewReader(append(bytes.Clone(hello), answer...)), io.Discard}, nil}, nil
		})
	}
	for _, test := range tests {
		if err := test.ask(t.Context(), agent(test.answer)); !errors.Is(err, errProtocol) {
			t.Errorf("%s: got %v, want it to break the protocol", test.name, err)
		}
	}
	long := strings.Repeat("x", 2*maxText)
	err := agent(frameOf(t, frameError, `{"kind":"other","message":"\u001b[2Jfine\nwarmrun: all is well`+long+`"}`)).Ping(t.Context())
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > maxText+10 {
		t.Errorf("got %.80q, %d bytes, want one short line", err, len(fmt.Sprint(err)))
	}
}
