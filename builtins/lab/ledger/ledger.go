// Package ledger writes rows to a cluster under load and keeps, outside the
// database, which of them the server has acknowledged, so that after a change
// of state the rows that exist can be compared with the rows that must.
//
// Terms, each a set of row ids:
//
//   - acknowledged: the server said that the transaction is committed. Such a
//     row must never be missing after a change that promises to lose nothing.
//   - in doubt: sent, but the answer never came, or was an error. Such a row
//     may exist or not.
//   - every other id has never been sent and must not exist.
package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Ledger is the record of one load. It may be used from several goroutines.
type Ledger struct {
	mu     sync.Mutex
	file   *os.File
	out    *bufio.Writer
	next   int64
	doubt  map[Span]bool
	acked  []Acknowledged
	last   time.Time     // the newest acknowledgement; zero after a pause
	gap    time.Duration // the longest time between two of them
	closed bool
}

// Acknowledged is one transaction that the server confirmed.
type Acknowledged struct {
	Span
	// LSN, as the server prints it, is one that the server had written up to
	// after it confirmed the transaction: the commit record ends before it.
	LSN string
}

// Create makes a ledger that writes its lines to path. The lines are
// "sent FIRST LAST TIME" and "acked FIRST LAST TIME LSN".
func Create(path string) (*Ledger, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &Ledger{file: file, out: bufio.NewWriter(file), next: 1, doubt: map[Span]bool{}}, nil
}

// Close flushes and closes the file. The sets can still be read.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return errors.Join(l.out.Flush(), l.file.Close())
}

// send hands out the next ids and notes them as in doubt.
func (l *Ledger) send(count int) (Span, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	span := Span{l.next, l.next + int64(count) - 1}
	l.next += int64(count)
	l.doubt[span] = true
	_, err := fmt.Fprintf(l.out, "sent %d %d %s\n", span.First, span.Last, stamp())
	return span, err
}

// acknowledge moves a span from in doubt to acknowledged.
func (l *Ledger) acknowledge(span Span, at time.Time, lsn string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.doubt, span)
	l.acked = append(l.acked, Acknowledged{span, lsn})
	if !l.last.IsZero() {
		l.gap = max(l.gap, at.Sub(l.last))
	}
	if at.After(l.last) {
		l.last = at
	}
	_, err := fmt.Fprintf(l.out, "acked %d %d %s %s\n", span.First, span.Last, stamp(), lsn)
	return err
}

func stamp() string { return time.Now().UTC().Format(time.RFC3339Nano) }

// forgetGap begins the measuring of gaps anew, now or with the next
// acknowledgement.
func (l *Ledger) forgetGap(from time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.gap = from, 0
}

// LongestGap is the longest time that passed between two acknowledgements
// since the load began, went on after a pause, or this was last asked: what
// clients that reconnect see of an outage.
func (l *Ledger) LongestGap() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	gap := l.gap
	if !l.last.IsZero() {
		gap = max(gap, time.Since(l.last))
	}
	l.gap = 0
	return gap
}

// Snapshot is the state of the ledger at one moment.
type Snapshot struct {
	Acknowledged Set
	InDoubt      Set
	// Next is the first id that had not been sent.
	Next int64

	transactions []Acknowledged
}

// Snapshot takes the sets as they are now.
func (l *Ledger) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Snapshot{Next: l.next, transactions: l.acked[:len(l.acked):len(l.acked)]}
	var acked, doubt []Span
	for _, a := range s.transactions {
		acked = append(acked, a.Span)
	}
	for span := range l.doubt {
		doubt = append(doubt, span)
	}
	s.Acknowledged, s.InDoubt = SetOf(acked...), SetOf(doubt...)
	return s
}

// AcknowledgedIf is the part of the acknowledged ids whose LSN keep accepts.
func (s Snapshot) AcknowledgedIf(keep func(lsn string) bool) Set {
	var spans []Span
	for _, a := range s.transactions {
		if keep(a.LSN) {
			spans = append(spans, a.Span)
		}
	}
	return SetOf(spans...)
}

// Verdict is what a comparison of rows with the ledger found.
type Verdict struct {
	// Missing are acknowledged rows that do not exist.
	Missing Set
	// Strange are rows that exist and were never sent.
	Strange Set
	// Doubtful are rows that exist and were in doubt; they may.
	Doubtful Set
	// Found is the number of acknowledged rows that exist.
	Found int64
}

// Compare says how the rows that exist on a node agree with the snapshot. Rows
// that were sent after it are left out of the account.
func (s Snapshot) Compare(rows Set) Verdict {
	rows = rows.Below(s.Next)
	v := Verdict{
		Missing:  s.Acknowledged.Minus(rows),
		Strange:  rows.Minus(s.Acknowledged).Minus(s.InDoubt),
		Doubtful: rows.Minus(s.Acknowledged),
	}
	v.Doubtful = v.Doubtful.Minus(v.Strange)
	v.Found = s.Acknowledged.Len() - v.Missing.Len()
	return v
}
