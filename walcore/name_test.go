package walcore

import "testing"

func TestParseFileName(t *testing.T) {
	tests := []struct {
		name    string
		kind    Kind
		segment SegmentName
	}{
		{"00000001000000C000000090", KindSegment, "00000001000000C000000090"},
		{"00000001000000C000000090.partial", KindPartial, "00000001000000C000000090"},
		{"00000001000000C000000099.00000020.backup", KindBackup, "00000001000000C000000099"},
		{"0000000A.history", KindHistory, ""},
		{"0000000100000000C00000099", 0, ""}, // 25 digits, as the 2warm manual's conversion has them
		{"00000001000000c000000090", 0, ""},
		{"../../etc/passwd", 0, ""},
		{"RECOVERYXLOG", 0, ""},
		{"", 0, ""},
	}
	for _, tt := range tests {
		name, err := ParseFileName(tt.name)
		if (err == nil) != (tt.kind != 0) {
			t.Errorf("ParseFileName(%q): got error %v, want valid=%v", tt.name, err, tt.kind != 0)
			continue
		}
		if err == nil && (name.Kind() != tt.kind || name.Segment() != tt.segment) {
			t.Errorf("%q: got kind %d segment %q, want %d %q", tt.name, name.Kind(), name.Segment(), tt.kind, tt.segment)
		}
	}
}

func TestSegmentArithmetic(t *testing.T) {
	tests := []struct {
		name SegmentName
		size SegmentSize
		next SegmentName
		lsn  string
	}{
		{"000000010000000000000001", 16 << 20, "000000010000000000000002", "0/1000000"},
		{"0000000100000000000000FF", 16 << 20, "000000010000000100000000", "0/FF000000"},
		{"000000020000000000000FFF", 1 << 20, "000000020000000100000000", "0/FFF00000"},
		{"000000010000000000000003", 1 << 30, "000000010000000100000000", "0/C0000000"},
	}
	for _, tt := range tests {
		if got := tt.name.Next(tt.size); got != tt.next {
			t.Errorf("%s.Next(%d): got %s, want %s", tt.name, tt.size, got, tt.next)
		}
		if got := tt.name.Start(tt.size).String(); got != tt.lsn {
			t.Errorf("%s.Start(%d): got %s, want %s", tt.name, tt.size, got, tt.lsn)
		}
		if got := SegmentAt(tt.name.Timeline(), tt.name.Start(tt.size), tt.size); got != tt.name {
			t.Errorf("SegmentAt: got %s, want %s", got, tt.name)
		}
	}
}

func FuzzParseLSN(f *testing.F) {
	f.Add("C/99000020")
	f.Add("0/0")
	f.Fuzz(func(t *testing.T, s string) {
		lsn, err := ParseLSN(s)
		if err != nil {
			return
		}
		again, err := ParseLSN(lsn.String())
		if err != nil || again != lsn {
			t.Errorf("%q: parsed %s, then %s, %v", s, lsn, again, err)
		}
	})
}
