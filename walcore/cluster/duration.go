package cluster

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a stretch of time, written as a whole number with its unit:
// "90s", "30m" (or "30min"), "12h", "14d".
type Duration time.Duration

// durationUnits are the units, the largest first.
var durationUnits = []struct {
	name string
	size time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"m", time.Minute}, {"s", time.Second}}

// UnmarshalText reads a whole number with its unit. A number alone is refused.
func (d *Duration) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(string(text), "dhmins ")
	number, err := strconv.ParseInt(digits, 10, 64)
	unit := strings.TrimSpace(string(text)[len(digits):])
	for _, u := range durationUnits {
		if unit != u.name || err != nil {
			continue
		}
		if number <= 0 || number > math.MaxInt64/int64(u.size) {
			return fmt.Errorf("a time of %s is out of range", text)
		}
		*d = Duration(number * int64(u.size))
		return nil
	}
	return fmt.Errorf("%q is no stretch of time: write a whole number with s, m, h or d, such as 14d", text)
}

// String is the stretch as it may be written; nothing for 0.
func (d Duration) String() string {
	text, _ := d.MarshalText() // which never fails
	return string(text)
}

// MarshalText is the inverse of UnmarshalText, in the largest unit that fits.
func (d Duration) MarshalText() ([]byte, error) {
	for _, u := range durationUnits {
		if d != 0 && time.Duration(d)%u.size == 0 {
			return fmt.Appendf(nil, "%d%s", int64(d)/int64(u.size), u.name), nil
		}
	}
	return nil, nil
}

// checked is an error where a number was given without quotes and unit.
func (d Duration) checked(key string) error {
	if d%Duration(time.Second) != 0 || d < 0 {
		return fmt.Errorf("%s is %d: write it with its unit, such as \"14d\"", key, int64(d))
	}
	return nil
}
