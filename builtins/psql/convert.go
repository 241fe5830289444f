package psql

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/warmrun/warmrun/walcore"
)

// Types that pgtype does not name (pg_type.dat).
const (
	oidVoid     = 2278
	oidLSN      = 3220
	oidLSNArray = 3221
)

// convert makes a plain value of what the server sent, in text form; nil is
// null.
func convert(oid uint32, raw []byte) any {
	if raw == nil || oid == oidVoid {
		return nil
	}
	text := string(raw)
	if element := elementOf(oid); element != 0 {
		if values, ok := parseArray(text, func(s string) any { return scalar(element, s) }); ok {
			return values
		}
		return text
	}
	return scalar(oid, text)
}

// elementOf is the type of the elements of an array type, for those that are
// taken apart, and 0 for every other type.
func elementOf(array uint32) uint32 {
	switch array {
	case pgtype.BoolArrayOID:
		return pgtype.BoolOID
	case pgtype.Int2ArrayOID, pgtype.Int4ArrayOID, pgtype.Int8ArrayOID, pgtype.OIDArrayOID, pgtype.XIDArrayOID:
		return pgtype.Int8OID
	case pgtype.Float4ArrayOID, pgtype.Float8ArrayOID:
		return pgtype.Float8OID
	case pgtype.TimestamptzArrayOID:
		return pgtype.TimestamptzOID
	case oidLSNArray:
		return oidLSN
	case pgtype.TextArrayOID, pgtype.VarcharArrayOID, pgtype.BPCharArrayOID, pgtype.NameArrayOID, pgtype.NumericArrayOID,
		pgtype.ByteaArrayOID, pgtype.UUIDArrayOID, pgtype.DateArrayOID, pgtype.TimestampArrayOID, pgtype.InetArrayOID,
		pgtype.JSONArrayOID, pgtype.JSONBArrayOID:
		return pgtype.TextOID
	}
	return 0
}

// scalar converts a single value. What cannot be converted stays the text that
// it is.
func scalar(oid uint32, text string) any {
	switch oid {
	case pgtype.BoolOID:
		return text == "t"
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID, pgtype.XIDOID, pgtype.CIDOID:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	case pgtype.Float4OID, pgtype.Float8OID:
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	case pgtype.TimestamptzOID:
		if t, ok := parseTimestamp(text); ok {
			return t.Format(time.RFC3339Nano)
		}
	case oidLSN:
		if lsn, err := walcore.ParseLSN(text); err == nil {
			return lsn
		}
	}
	return text
}

// parseTimestamp reads a timestamptz of DateStyle ISO, whose offset has hours
// and, where they are not zero, minutes and seconds.
func parseTimestamp(text string) (time.Time, bool) {
	at := strings.LastIndexAny(text, "+-")
	if at < 0 || strings.HasSuffix(text, "BC") {
		return time.Time{}, false
	}
	layout := "2006-01-02 15:04:05.999999-07"
	switch strings.Count(text[at:], ":") {
	case 1:
		layout += ":00"
	case 2:
		layout += ":00:00"
	}
	t, err := time.Parse(layout, text)
	return t.UTC(), err == nil
}
