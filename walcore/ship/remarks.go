package ship

import (
	"bytes"
	"io"
	"sync"
)

// Remarks collects what is said, by several goroutines, until a call of the server
// ends that can hand it on: about its file, or about a connection, such as that
// a key was refused.
type Remarks struct {
	also io.Writer

	mu  sync.Mutex
	buf bytes.Buffer
}

// mostRemarks bounds what is kept.
const mostRemarks = 16 << 10

// NewRemarks keeps remarks that are written to another place as well.
func NewRemarks(also io.Writer) *Remarks { return &Remarks{also: also} }

// Write keeps a remark, unless there are too many already.
func (r *Remarks) Write(text []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf.Len()+len(text) <= mostRemarks {
		r.buf.Write(text) // a bytes.Buffer never fails
	}
	return r.also.Write(text)
}

// take returns what is there, and forgets it.
func (r *Remarks) take() string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	text := r.buf.String()
	r.buf.Reset()
	return text
}
