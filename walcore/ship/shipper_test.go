package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// shipyard is a data directory with segments that wait to be archived, its
// shipper, and a standby's archive.
type shipyard struct {
	*testing.T
	place   Place
	caller  Caller
	pgWAL   string
	own     *walcore.Archive
	standby *walcore.Archive
	names   []walcore.FileName
	ended   chan error

	offered atomic.Int32 // agents started
	mu      sync.Mutex
	down    error // why the standby cannot be reached
	streams []io.Closer
	idle    time.Duration
}

func newShipyard(t *testing.T, segments int) *shipyard {
	t.Helper()
	s := &shipyard{T: t, own: newArchive(t), standby: newArchive(t), idle: time.Minute}
	data := t.TempDir()
	s.pgWAL = filepath.Join(data, "pg_wal")
	place, err := PlaceOf(filepath.Join(t.TempDir(), "ship"), data)
	if err != nil {
		t.Fatal(err)
	}
	s.place, s.caller = place, Caller{Place: place, Program: "v1"}
	if err := os.MkdirAll(filepath.Join(s.pgWAL, "archive_status"), 0o700); err != nil {
		t.Fatal(err)
	}
	names, paths := manySegments(t, segments)
	for i, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s.ready(names[i], data)
	}
	s.names = names
	return s
}

// ready puts a file into pg_wal that waits to be archived.
func (s *shipyard) ready(name walcore.FileName, data []byte) {
	s.Helper()
	writeFile(s, filepath.Join(s.pgWAL, string(name)), data)
	writeFile(s, filepath.Join(s.pgWAL, "archive_status", string(name)+".ready"), nil)
}

// start runs the shipper until the test ends.
func (s *shipyard) start() {
	s.Helper()
	agent := inProcess(s, AgentConfig{Archive: s.standby.Dir()})
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.down != nil {
			return nil, s.down
		}
		s.offered.Add(1)
		stream, err := agent(ctx)
		s.streams = append(s.streams, stream)
		return stream, err
	}
	cfg := ShipperConfig{
		Place: s.place, Idle: s.idle, Program: "v1", Log: s.Logf,
		Prepare: func(path string, name walcore.FileName) (ArchiveRequest, error) {
			return ArchiveRequest{Path: path, Name: name, Active: true, Own: s.own, Destinations: []Destination{
				{Node: "db2", Role: cluster.RolePair, Where: "db2:/archive", Dial: dial},
			}}, nil
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s.ended = ended
	go func() { ended <- RunShipper(ctx, cfg) }()
	s.Cleanup(func() {
		cancel()
		s.waitEnd(ended)
	})
	s.eventually("the shipper answers", func() bool {
		_, err := s.place.Status(s.Context())
		return err == nil
	})
}

func (s *shipyard) waitEnd(ended chan error) {
	s.Helper()
	select {
	case err := <-ended:
		if err != nil {
			s.Errorf("the shipper ended with %v", err)
		}
		ended <- nil // for whoever asks again
	case <-time.After(20 * time.Second):
		s.Error("the shipper has not ended")
	}
}

func (s *shipyard) eventually(what string, holds func() bool) {
	s.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited in vain until %s", what)
		}
	}
}

func (s *shipyard) archive(name walcore.FileName) error {
	s.Helper()
	var out bytes.Buffer
	err := s.caller.Archive(s.Context(), filepath.Join(s.pgWAL, string(name)), name, &out)
	if err == nil {
		stored, readErr := os.ReadFile(filepath.Join(s.standby.Dir(), string(name)))
		sent, sentErr := os.ReadFile(filepath.Join(s.pgWAL, string(name)))
		if err := errors.Join(readErr, sentErr); err != nil || !bytes.Equal(stored, sent) {
			s.Errorf("%s was acknowledged, but the archive holds something else (%v)", name, err)
		}
	}
	return err
}

func (s *shipyard) status() LinkStatus {
	s.Helper()
	status, err := s.place.Status(s.Context())
	if err != nil || len(status.Links) != 1 {
		s.Fatalf("status: %+v, %v, want one destination", status, err)
	}
	return status.Links[0]
}

// TestShipperLooksAhead: after one call the segments that follow are on their
// way, and are not sent again when the server asks for them.
func TestShipperLooksAhead(t *testing.T) {
	s := newShipyard(t, 8)
	s.start()
	if err := s.archive(s.names[0]); err != nil {
		t.Fatal(err)
	}
	s.eventually("four segments have been sent ahead", func() bool { return s.status().SentAhead == lookAhead })
	if s.standby.Knows(s.names[lookAhead+1], int64(storetest.Small)) {
		t.Errorf("more than %d segments were sent ahead", lookAhead)
	}
	for _, name := range s.names[1:] {
		if err := s.archive(name); err != nil {
			t.Fatal(err)
		}
	}
	got := s.status()
	if got.Files != int64(len(s.names)) || got.Connects != 1 || got.SentAhead < lookAhead || got.Bytes != int64(len(s.names))*int64(storetest.Small) {
		t.Errorf("got %+v, want each segment sent once, over one connection", got)
	}
	checkStored(t, s.standby, s.names)
}

// TestShipperGoesOn: the server asks for one segment again and again, because
// another destination does not have it. This one gets those that follow.
func TestShipperGoesOn(t *testing.T) {
	s := newShipyard(t, 4*lookAhead)
	s.start()
	s.eventually("all segments have been sent", func() bool {
		if err := s.archive(s.names[0]); err != nil {
			t.Fatal(err)
		}
		return s.status().Files == int64(len(s.names))
	})
	checkStored(t, s.standby, s.names)
	// What was delivered for another segment than the first counts for it only.
	s.ready(s.names[1], segment(storetest.Segment{Name: walcore.SegmentName(s.names[1]), Seed: 9}))
	if err := s.archive(s.names[1]); err == nil || !strings.Contains(err.Error(), "different content") {
		t.Errorf("other content under the name: got %v, want it refused", err)
	}
}

// TestShipperSendsOnlyWhatIsReady: a segment that is still being written to, or
// was archived by somebody else, is left alone.
func TestShipperSendsOnlyWhatIsReady(t *testing.T) {
	s := newShipyard(t, 3)
	if err := os.Remove(filepath.Join(s.pgWAL, "archive_status", string(s.names[1])+".ready")); err != nil {
		t.Fatal(err)
	}
	s.start()
	if err := s.archive(s.names[0]); err != nil {
		t.Fatal(err)
	}
	s.eventually("nothing is on its way", func() bool { return len(s.status().OnTheWay) == 0 })
	if got := listed(t, s.standby); got != string(s.names[0]) {
		t.Errorf("the standby has %s, want %s", got, s.names[0])
	}
}

// TestShipperLosesTheConnection, with files on their way and with none: the
// call goes through over another one.
func TestShipperLosesTheConnection(t *testing.T) {
	s := newShipyard(t, 12)
	s.start()
	for i, name := range s.names {
		if i%2 == 1 {
			s.mu.Lock()
			for _, stream := range s.streams {
				_ = stream.Close() // an agent that was killed
			}
			s.streams = nil
			s.mu.Unlock()
		}
		if err := s.archive(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.status().Connects; got < 2 {
		t.Errorf("connected %d times, want more: the connections were cut", got)
	}
	checkStored(t, s.standby, s.names)
}

// TestShipperPauses: a destination that is down is left alone for a moment, the
// call says why, and when it is back the next one goes through.
func TestShipperPauses(t *testing.T) {
	s := newShipyard(t, 2)
	s.down = errors.New("connect to db2: no route to host")
	s.start()
	for i := range 2 {
		err := s.archive(s.names[0])
		if err == nil || errors.Is(err, ErrNoShipper) || !strings.Contains(err.Error(), "no route to host") || !strings.Contains(err.Error(), "stays in pg_wal") {
			t.Fatalf("call %d: got %v, want why it is down, and that the segment stays", i, err)
		}
		if again := strings.Contains(err.Error(), "tried again in"); again != (i == 1) {
			t.Errorf("call %d: got %v, want a new attempt only after a pause", i, err)
		}
	}
	if got := s.status(); got.Trouble == "" || got.Again.IsZero() || !got.Connected.IsZero() {
		t.Errorf("status: got %+v, want the trouble", got)
	}
	s.mu.Lock()
	s.down = nil
	s.mu.Unlock()
	s.eventually("the segment is shipped", func() bool { return s.archive(s.names[0]) == nil })
	if got := s.status(); got.Trouble != "" || got.Connected.IsZero() {
		t.Errorf("status: got %+v, want a connection and no trouble", got)
	}
}

// TestShipperAndRecycledSegments: PostgreSQL gives an old segment's file a new
// name and writes over it. What was delivered before counts for nothing.
func TestShipperAndRecycledSegments(t *testing.T) {
	s := newShipyard(t, 2)
	s.start()
	if err := s.archive(s.names[0]); err != nil {
		t.Fatal(err)
	}
	other := segment(storetest.Segment{Name: walcore.SegmentName(s.names[0]), Seed: 9})
	writeFile(t, filepath.Join(s.pgWAL, string(s.names[0])), other)
	if err := s.archive(s.names[0]); err == nil || !strings.Contains(err.Error(), "different content") {
		t.Errorf("other content under the name: got %v, want it refused", err)
	}
}

// TestShipperOfAnotherVersion ends, and the call is told to do without.
func TestShipperOfAnotherVersion(t *testing.T) {
	s := newShipyard(t, 1)
	s.start()
	s.caller.Program = "v2"
	if err := s.archive(s.names[0]); !errors.Is(err, ErrNoShipper) {
		t.Errorf("got %v, want ErrNoShipper", err)
	}
	s.waitEnd(s.ended)
}

// TestShipperIsAlone: one place has one shipper, also after one that was killed
// and left its socket behind.
func TestShipperIsAlone(t *testing.T) {
	s := newShipyard(t, 1)
	if err := errors.Join(os.MkdirAll(s.place.Dir, 0o700), os.WriteFile(s.place.path(".sock"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.archive(s.names[0]); !errors.Is(err, ErrNoShipper) {
		t.Errorf("with a stale socket: got %v, want ErrNoShipper", err)
	}
	s.start()
	if err := RunShipper(t.Context(), ShipperConfig{Place: s.place, Idle: time.Minute}); !errors.Is(err, ErrShipperRuns) {
		t.Errorf("a second shipper: got %v, want ErrShipperRuns", err)
	}
	if err := s.archive(s.names[0]); err != nil {
		t.Error(err)
	}
	places, err := Places(s.place.Dir)
	if err != nil || len(places) != 1 || places[0] != s.place {
		t.Errorf("Places: got %v, %v, want %v", places, err, s.place)
	}
	if err := errors.Join(s.place.Stop(t.Context()), s.place.Wait(t.Context())); err != nil {
		t.Error(err)
	}
	if err := s.archive(s.names[0]); !errors.Is(err, ErrNoShipper) {
		t.Errorf("after it was stopped: got %v, want ErrNoShipper", err)
	}
}

// TestShipperIdles: it ends when nobody calls.
func TestShipperIdles(t *testing.T) {
	s := newShipyard(t, 1)
	s.idle = 100 * time.Millisecond
	s.start()
	s.waitEnd(s.ended)
}

// TestShipperFarDown: a place whose path is too long for a socket's address.
func TestShipperFarDown(t *testing.T) {
	s := newShipyard(t, 1)
	s.place.Dir = filepath.Join(t.TempDir(), strings.Repeat("long/", 30), "ship")
	s.caller.Place = s.place
	s.start()
	if err := s.archive(s.names[0]); err != nil {
		t.Error(err)
	}
}

// TestStuckShipper: one that accepts a call and says nothing more is done
// without.
func TestStuckShipper(t *testing.T) {
	s := newShipyard(t, 1)
	if err := os.MkdirAll(s.place.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := s.place.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s.caller.Silence = 50 * time.Millisecond
	if err := s.archive(s.names[0]); !errors.Is(err, ErrNoShipper) {
		t.Errorf("got %v, want ErrNoShipper", err)
	}
}

// TestShipperPlaceOfOthers: a directory that others may enter is not used.
func TestShipperPlaceOfOthers(t *testing.T) {
	s := newShipyard(t, 1)
	if err := errors.Join(os.MkdirAll(s.place.Dir, 0o755), os.Chmod(s.place.Dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := RunShipper(t.Context(), ShipperConfig{Place: s.place, Idle: time.Minute}); err == nil || !strings.Contains(err.Error(), "alone") {
		t.Errorf("got %v, want it refused", err)
	}
}

// TestShipperSendsHistoriesFirst: the agent gets the histories of a timeline
// before its first segment, once for a connection.
func TestShipperSendsHistoriesFirst(t *testing.T) {
	s := newShipyard(t, 1)
	history := []byte("1\t0/180000\tx\n")
	mustPut(t, s.own, tli2, history, 0)
	for i := range 3 {
		name := walcore.SegmentName(fmt.Sprintf("0000000200000000%08X", i+2))
		s.ready(walcore.FileName(name), segment(storetest.Segment{Name: name}))
	}
	s.start()
	for i := range 3 {
		if err := s.archive(walcore.FileName(fmt.Sprintf("0000000200000000%08X", i+2))); err != nil {
			t.Fatal(err)
		}
		if !s.standby.Knows(tli2, int64(len(history))) {
			t.Fatal("a segment of timeline 2 was shipped before its history")
		}
	}
}
