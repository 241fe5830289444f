package pgmajor

import (
	"strconv"
	"testing"
)

// Each runs a test on every major that is wanted, as parts that are named after it
// and run at the same time: they wait most of it.
func Each(t *testing.T, test func(t *testing.T, server Server)) {
	t.Helper()
	wanted, err := Wanted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, major := range wanted {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			test(t, Must(t, major))
		})
	}
}

// Must is Find for a test, which fails without the server.
func Must(t testing.TB, major int) Server {
	t.Helper()
	server, err := Find(t.Context(), major)
	if err != nil {
		t.Fatal(err)
	}
	return server
}
