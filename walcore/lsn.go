package walcore

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a log sequence number: a byte position in a cluster's WAL. It is
// printed as two hexadecimal halves, as PostgreSQL's pg_lsn type does.
type LSN uint64

// ParseLSN reads the form that PostgreSQL prints, such as "C/99000020".
func ParseLSN(s string) (LSN, error) {
	high, low, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("%q is not an LSN: want two hexadecimal numbers, as in C/99000020", s)
	}
	h, errHigh := strconv.ParseUint(high, 16, 32)
	l, errLow := strconv.ParseUint(low, 16, 32)
	if errHigh != nil || errLow != nil {
		return 0, fmt.Errorf("%q is not an LSN: want two hexadecimal numbers, as in C/99000020", s)
	}
	return LSN(h<<32 | l), nil
}

// String prints the LSN as PostgreSQL does.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint64(l)>>32, uint64(l)&0xffffffff)
}

// MarshalText makes an LSN a string in JSON: a JSON number would lose bits.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is ParseLSN; the empty text is the zero LSN.
func (l *LSN) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*l = 0
		return nil
	}
	parsed, err := ParseLSN(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}
