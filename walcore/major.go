package walcore

// majors are the versions of the WAL format (XLOG_PAGE_MAGIC in
// access/xlog_internal.h) as they were released.
func majors() map[uint16]string {
	return map[uint16]string{
		0xD05E: "8.2", 0xD062: "8.3", 0xD063: "8.4",
		0xD064: "9.0", 0xD066: "9.1", 0xD071: "9.2", 0xD075: "9.3", 0xD07E: "9.4", 0xD087: "9.5", 0xD093: "9.6",
		0xD097: "10", 0xD098: "11", 0xD101: "12", 0xD106: "13", 0xD10D: "14", 0xD110: "15", 0xD113: "16", 0xD116: "17", 0xD118: "18",
	}
}

// MajorOf is the PostgreSQL version that writes pages with a magic number, or
// empty for a number that no release has.
func MajorOf(magic uint16) string { return majors()[magic] }
