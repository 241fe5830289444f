package filesync

import "io"

// Inspector looks at the content of one source file on its way.
//
// A large file is split into ranges, which several streams send at the same
// time: Block is then called from several goroutines at once. Within a range
// the stretches come in increasing order; the ranges come in any.
type Inspector interface {
	// Block is handed a stretch of the file that begins at offset, a multiple
	// of 128 kB, and is 128 kB long but for the last of the file. The
	// stretches cover the file's listed size, each byte exactly once, also
	// those that the target has already. Where a file shrank, the part that
	// the copy fills up comes as zeros.
	//
	// p is valid during the call only. What is in it when Block returns is
	// what the copy gets, so a page that was read while it was being written
	// can be read again from file into its place in p. An error fails the copy.
	Block(offset int64, p []byte, file io.ReaderAt) error
	// Done is called once, after the last Block has returned, with the size
	// that the copy has. It is not called for a file that vanished. The file
	// is not yet durable on the target.
	Done(size int64) error
}

// noInspector is the Inspector of a file that nobody wants to look at.
type noInspector struct{}

func (noInspector) Block(int64, []byte, io.ReaderAt) error { return nil }
func (noInspector) Done(int64) error                       { return nil }

// inspector is who looks at a file.
func (o Options) inspector(e Entry) Inspector {
	if o.Inspect != nil {
		if i := o.Inspect(e); i != nil {
			return i
		}
	}
	return noInspector{}
}
