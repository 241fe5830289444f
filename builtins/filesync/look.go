package filesync

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// ProcessState is what the other node says of a process.
type ProcessState struct {
	Running bool `json:"running"` // there is a process of that number, dead ones waiting for their parent not counted
	Here    bool `json:"here"`    // and its working directory is the root
	Unknown bool `json:"unknown"` // and its working directory may not be looked at
}

// look answers the requests of a Remote.
func (s *server) look(t frameType, payload []byte) error {
	switch t {
	case frameRead:
		f, err := decodeSmallFile(payload)
		if err != nil {
			return err
		}
		content, err := readSmall(s.tree.root, f)
		return s.answer(err, frameContent, content)
	case frameWrite:
		f, err := decodeSmallFile(payload)
		if err != nil {
			return err
		}
		return s.answer(s.recv.writeSmall(f), frameDone, nil)
	case frameRemove:
		d := decoder{b: payload}
		names := d.strings()
		if err := d.finish(); err != nil {
			return err
		}
		return s.answer(s.removeAll(names), frameDone, nil)
	case frameMkdir:
		return s.lookMkdir(payload)
	case frameSync:
		return s.answer(s.recv.sync(), frameDone, nil)
	case frameProcess:
		d := decoder{b: payload}
		pid := d.uint32()
		if err := d.finish(); err != nil {
			return err
		}
		state := processState(s.tree, int(pid))
		e := new(encoder).bool(state.Running).bool(state.Here).bool(state.Unknown)
		return s.c.send(frameState, e.b)
	}
	return protocolError("an unexpected request of type %d", t)
}

// lookMkdir makes a directory that belongs to whoever owns the one it is in.
func (s *server) lookMkdir(payload []byte) error {
	e, err := decodeEntry(payload)
	if err != nil {
		return err
	}
	if e.UID, e.GID, err = s.recv.parentOwner(e.Path); err == nil {
		err = s.make(frameMkdir, e)
	}
	if err == nil && s.recv.owners != nil {
		err = s.tree.root.Chown(e.Path, int(e.UID), int(e.GID))
	}
	if errors.Is(err, errProtocol) {
		return err
	}
	return s.answer(err, frameDone, nil)
}

func (s *server) removeAll(names []string) error {
	for _, name := range names {
		if err := checkPath(name); err != nil {
			return err
		}
		if err := s.recv.removeEntry(name); err != nil {
			return err
		}
	}
	return nil
}

// answer sends the answer to a request that may fail without ending the
// stream.
func (s *server) answer(err error, t frameType, payload []byte) error {
	if err != nil {
		return s.c.send(frameFail, encodeFailure(err))
	}
	return s.c.send(t, payload)
}

func readSmall(root *os.Root, f smallFile) (_ []byte, err error) {
	file, info, err := openRegular(root, f.Name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info.Size() > f.Limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", f.Name, info.Size(), f.Limit)
	}
	return io.ReadAll(io.LimitReader(file, f.Limit))
}

// writeSmall writes a file the durable way; the directory is flushed by sync.
func (r *receiver) writeSmall(f smallFile) error {
	e := Entry{Path: f.Name, Kind: File, Size: int64(len(f.Data))}
	in := &incoming{job: job{entry: &e, to: e.Size, basis: -1, partial: -1}}
	if err := r.openTemp(in); err != nil {
		return err
	}
	r.dirs[path.Dir(f.Name)] = true
	_, err := io.Copy(in.out, bytes.NewReader(f.Data))
	if err == nil && r.owners != nil {
		var uid, gid uint32
		if uid, gid, err = r.parentOwner(f.Name); err == nil {
			err = in.out.Chown(int(uid), int(gid))
		}
	}
	if err == nil {
		err = in.out.Chmod(f.Perm)
	}
	if err == nil {
		err = in.out.Sync()
	}
	if err != nil {
		return errors.Join(err, in.abandon(r.tree.root))
	}
	if err := in.out.Close(); err != nil {
		return errors.Join(err, r.tree.root.Remove(in.temp))
	}
	if err := r.tree.root.Rename(in.temp, f.Name); err != nil {
		return errors.Join(err, r.tree.root.Remove(in.temp))
	}
	return r.sync()
}

// parentOwner is who owns the directory that an entry is in.
func (r *receiver) parentOwner(name string) (uid, gid uint32, err error) {
	info, err := r.tree.root.Stat(path.Dir(name))
	if err != nil {
		return 0, 0, err
	}
	e := newEntry(name, info)
	return e.UID, e.GID, nil
}

// processState looks a process up in /proc.
func processState(t *tree, pid int) ProcessState {
	if pid <= 0 {
		return ProcessState{}
	}
	p, err := procstat.Read(procstat.Root, pid)
	if err != nil || p.Dead() {
		return ProcessState{Unknown: err != nil && !errors.Is(err, fs.ErrNotExist)}
	}
	info, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return ProcessState{Running: true, Unknown: true}
	}
	return ProcessState{Running: true, Here: identityOf(info) == t.id}
}
