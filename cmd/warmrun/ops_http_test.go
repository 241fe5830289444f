package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/engine"
)

func TestPost(t *testing.T) {
	var got *http.Request
	var body string
	status := http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got, body = r, string(raw)
		w.Header().Set("Location", "http://other.example/")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "the moon\nis full")
	}))
	defer server.Close()
	target := engine.NewSecret(server.URL + "/services/T0/secret-path")
	reply, err := post(t.Context(), target, postOptions{JSON: map[string]any{"text": "done"}, Token: engine.NewSecret("tok"), Headers: map[string]string{"X-Team": "dba"}})
	if err != nil || reply.Status != status {
		t.Fatalf("got %+v, %v", reply, err)
	}
	for _, pair := range [][2]string{
		{got.Method, "POST"}, {got.URL.Path, "/services/T0/secret-path"}, {body, `{"text":"done"}`},
		{got.Header.Get("Authorization"), "Bearer tok"}, {got.Header.Get("Content-Type"), "application/json"}, {got.Header.Get("X-Team"), "dba"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("got %q, want %q", pair[0], pair[1])
		}
	}
	// What is no success is an error, a redirection among it, and no error
	// shows the path, which may be the secret.
	for _, status = range []int{http.StatusFound, http.StatusForbidden, http.StatusInternalServerError} {
		_, err := post(t.Context(), target, postOptions{Body: "x"})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) || !strings.HasSuffix(err.Error(), ": the moon is full") || strings.Contains(err.Error(), "secret-path") {
			t.Errorf("%d: got %v", status, err)
		}
	}
	server.Close()
	if _, err := post(t.Context(), target, postOptions{}); err == nil || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("nobody listens: got %v", err)
	}
	for _, bad := range []string{"", "secret-path", "file:///etc/passwd", "http://", "ht tp://secret-path"} {
		_, err := post(t.Context(), engine.NewSecret(bad), postOptions{})
		if err == nil || engine.HasBegun(err) || strings.Contains(err.Error(), "secret-path") {
			t.Errorf("%q: got %v, want a refusal that has changed nothing", bad, err)
		}
	}
}

func TestPostTimeout(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	if _, err := post(t.Context(), engine.NewSecret(server.URL), postOptions{Timeout: 20 * time.Millisecond}); err == nil {
		t.Error("a server that does not answer was waited for")
	}
}
