package cluster

import (
	"strings"
	"testing"
)

func streamingSite(self NodeName, s Streaming) *Site {
	site := &Site{Streaming: s, Nodes: []Node{
		{Name: "db1", Host: "10.0.0.1", Role: RolePair, Port: 5433, User: "postgres"},
		{Name: "DB-2", Host: "10.0.0.2", Role: RolePair, StreamHost: "192.168.0.2"},
		{Name: "dr", Host: "10.0.0.3", Role: RoleDR},
	}}
	for _, n := range site.Nodes {
		if n.Name == self {
			site.Self = n
		}
	}
	return site
}

func TestUpstream(t *testing.T) {
	on := Streaming{Enabled: true}
	for _, test := range []struct {
		self  NodeName
		s     Streaming
		major int
		want  string
	}{
		{"db1", Streaming{}, 15, ""},
		{"db1", on, 15, "host=192.168.0.2 port=5432 application_name=db1"},
		{"DB-2", on, 15, "host=10.0.0.1 port=5433 application_name=DB-2 user=postgres"},
		{"DB-2", Streaming{Enabled: true, User: "a b", Conninfo: "sslmode=require"}, 15, "host=10.0.0.1 port=5433 application_name=DB-2 user='a b' sslmode=require"},
		{"dr", on, 13, "host=10.0.0.1,192.168.0.2 port=5433,5432 application_name=dr user=postgres"},
		{"dr", on, 14, "host=10.0.0.1,192.168.0.2 port=5433,5432 application_name=dr user=postgres target_session_attrs=prefer-standby"},
	} {
		if got := streamingSite(test.self, test.s).Upstream(test.major); got != test.want {
			t.Errorf("%s on %d with %+v: got %q, want %q", test.self, test.major, test.s, got, test.want)
		}
	}
}

func TestSlotOf(t *testing.T) {
	if got := streamingSite("db1", Streaming{Enabled: true, Slots: true}).SlotOf("DB-2"); got != "warmrun_db_2" {
		t.Errorf("got %q, want warmrun_db_2", got)
	}
	if got := streamingSite("db1", Streaming{Enabled: true, Slots: true}).SlotOf("dr"); got != "" {
		t.Errorf("the DR node: got %q, want none", got)
	}
	if got := streamingSite("db1", Streaming{Enabled: true}).SlotOf("DB-2"); got != "" {
		t.Errorf("without slots: got %q, want none", got)
	}
}

func TestStreamingCheck(t *testing.T) {
	for text, s := range map[string]Streaming{
		"is not enabled": {Slots: true},
		"has host in it": {Enabled: true, Conninfo: "host=db1"},
	} {
		if err := s.check(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: got %v, want %q", s, err, text)
		}
	}
	if err := (Streaming{Enabled: true, Slots: true, Conninfo: "sslmode=require"}).check(); err != nil {
		t.Error(err)
	}
}
