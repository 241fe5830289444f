package main

import "testing"

func TestRunsOn(t *testing.T) {
	for _, test := range []struct {
		system, arch, uname string
		want                bool
	}{
		{"linux", "amd64", "Linux x86_64", true},
		{"linux", "amd64", "Linux aarch64", false},
		{"linux", "amd64", "Linux i686", false},
		{"linux", "386", "Linux x86_64", true},
		{"linux", "arm64", "Linux aarch64", true},
		{"linux", "arm64", "Linux armv7l", false},
		{"linux", "s390x", "Linux s390x", true},
		{"linux", "amd64", "FreeBSD amd64", false},
		{"linux", "amd64", "", false},
		{"linux", "amd64", "Welcome to db2 Linux x86_64", false},
	} {
		if got := runsOn(test.system, test.arch, test.uname); got != test.want {
			t.Errorf("%s/%s on %q: got %v, want %v", test.system, test.arch, test.uname, got, test.want)
		}
	}
}
