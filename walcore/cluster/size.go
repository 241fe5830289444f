package cluster

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. It is written as in postgresql.conf, where each
// unit is 1024 times the one before: "200GB".
type Size int64

var sizeUnits = []string{"B", "kB", "MB", "GB", "TB"}

// UnmarshalText reads a whole number with its unit. A number alone is refused:
// in postgresql.conf its unit depends on the setting.
func (s *Size) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(string(text), "kMGTB ")
	number, err := strconv.ParseInt(digits, 10, 64)
	unit := strings.TrimSpace(string(text)[len(digits):])
	for i, name := range sizeUnits {
		if unit != name || err != nil {
			continue
		}
		if number <= 0 || number > math.MaxInt64>>(10*i) {
			return fmt.Errorf("a size of %s is out of range", text)
		}
		*s = Size(number << (10 * i))
		return nil
	}
	return fmt.Errorf("%q is no size: write a whole number with B, kB, MB, GB or TB, such as 200GB", text)
}

// String is the size as it may be written.
func (s Size) String() string {
	text, _ := s.MarshalText() // which never fails
	return string(text)
}

// MarshalText is the inverse of UnmarshalText, in the largest unit that fits.
func (s Size) MarshalText() ([]byte, error) {
	unit := 0
	for s != 0 && s%1024 == 0 && unit < len(sizeUnits)-1 {
		s, unit = s/1024, unit+1
	}
	return fmt.Appendf(nil, "%d%s", int64(s), sizeUnits[unit]), nil
}
