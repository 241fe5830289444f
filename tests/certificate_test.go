package tests

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/tests/cluster"
)

// certified is what a certificate says of one node.
type certified struct {
	Node   string `json:"node"`
	Major  any    `json:"postgresql"`
	SHA256 string `json:"last_segment_sha256"`
}

// checkCertificate reads the certificate that a switchover has left on the node that
// drove it: where the old primary's WAL ends is what the standby replayed and where
// the new timeline begins, and both have the same last segment.
func checkCertificate(m *onMajor, by *cluster.Node, said cluster.Result, proof string) {
	m.Helper()
	_, path, found := strings.Cut(said.Stdout, "The certificate is ")
	path, _, _ = strings.Cut(path, "\n")
	if !found {
		m.Fatalf("%s\nwant it to name the certificate", said)
	}
	if text := readFile(m.T, by.Path(path)); !strings.Contains(text, proof) {
		m.Errorf("the certificate says\n%s\nwant %q", text, proof)
	}
	var c struct {
		Old         certified `json:"old_primary"`
		New         certified `json:"new_primary"`
		OldTimeline int       `json:"old_timeline"`
		NewTimeline int       `json:"new_timeline"`
		End         string    `json:"end_lsn"`
		Replayed    string    `json:"replayed_lsn"`
		Fork        string    `json:"fork_lsn"`
		Proof       string    `json:"proof"`
		Gap         struct {
			Milliseconds float64 `json:"ms"`
		} `json:"write_gap"`
	}
	text := readFile(m.T, strings.TrimSuffix(by.Path(path), ".txt")+".json")
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		m.Fatalf("%v\n%s", err, text)
	}
	want := certified{Node: m.primary.Name, Major: c.New.Major, SHA256: c.New.SHA256}
	if c.Old != want || fmt.Sprint(c.New.Major) != strconv.Itoa(m.server.Major) || c.New.Node != m.standby.Name || len(c.New.SHA256) != 64 || c.End != c.Replayed || c.End != c.Fork ||
		c.NewTimeline != c.OldTimeline+1 || !strings.Contains(c.Proof, proof) || c.Gap.Milliseconds <= 0 {
		m.Errorf("the certificate does not fit a switchover from %s to %s:\n%s", m.primary.Name, m.standby.Name, text)
	}
}
