package engine

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a length of time with a unit, such as "30s", "5min",
// "1h30m" or "2d". It takes the units of Go and of postgresql.conf: ns, us,
// ms, s, m or min, h, d. A bare number is refused, because nobody can say what
// it would mean; only "0" needs no unit.
func ParseDuration(text string) (time.Duration, error) {
	rest := strings.TrimSpace(text)
	if rest == "0" {
		return 0, nil
	}
	bad := fmt.Errorf("%q is not a duration: want a number and a unit, such as 30s, 5min or 1h30m", text)
	if rest == "" {
		return 0, bad
	}
	var total float64
	for rest != "" {
		number, unit, after := cutQuantity(rest)
		value, err := strconv.ParseFloat(number, 64)
		scale, known := durationUnit(unit)
		if err != nil || !known {
			return 0, bad
		}
		total += value * float64(scale)
		rest = after
	}
	if total >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too long a duration", text)
	}
	return time.Duration(math.Round(total)), nil
}

func durationUnit(unit string) (time.Duration, bool) {
	switch unit {
	case "ns":
		return time.Nanosecond, true
	case "us", "µs":
		return time.Microsecond, true
	case "ms":
		return time.Millisecond, true
	case "s":
		return time.Second, true
	case "m", "min":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	}
	return 0, false
}

// ParseSize reads a number of bytes, such as "16MB" or "1.5 GB". As in
// postgresql.conf the units are powers of 1024: B, kB, MB, GB, TB. A number
// without a unit is bytes.
func ParseSize(text string) (int64, error) {
	number, unit, rest := cutQuantity(strings.TrimSpace(text))
	value, err := strconv.ParseFloat(number, 64)
	scale, known := sizeUnit(unit)
	if err != nil || !known || rest != "" {
		return 0, fmt.Errorf("%q is not a size: want bytes or a number and a unit, such as 512kB, 16MB or 1GB", text)
	}
	bytes := value * scale
	if bytes >= 1<<53 {
		return 0, fmt.Errorf("%q is too large a size", text)
	}
	if bytes != math.Trunc(bytes) {
		return 0, fmt.Errorf("%q is not a whole number of bytes", text)
	}
	return int64(bytes), nil
}

func sizeUnit(unit string) (float64, bool) {
	switch strings.ToUpper(unit) {
	case "", "B":
		return 1, true
	case "K", "KB":
		return 1 << 10, true
	case "M", "MB":
		return 1 << 20, true
	case "G", "GB":
		return 1 << 30, true
	case "T", "TB":
		return 1 << 40, true
	}
	return 0, false
}

// cutQuantity splits "1h30m" into "1", "h" and "30m". Blanks around the unit
// are dropped.
func cutQuantity(s string) (number, unit, rest string) {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }
	end := strings.IndexFunc(s, func(r rune) bool { return !isDigit(r) })
	if end < 0 {
		return s, "", ""
	}
	number = s[:end]
	s = strings.TrimLeft(s[end:], " ")
	end = strings.IndexFunc(s, func(r rune) bool { return isDigit(r) || r == ' ' })
	if end < 0 {
		return number, s, ""
	}
	return number, s[:end], strings.TrimLeft(s[end:], " ")
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, errors.New("want true or false")
}

// tookText is " in 0.3 s", or empty where that is too little to tell.
func tookText(d time.Duration) string {
	if d < 10*time.Millisecond {
		return ""
	}
	return " in " + elapsed(d)
}

// elapsed prints how long something took, for people.
func elapsed(d time.Duration) string {
	switch {
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}
