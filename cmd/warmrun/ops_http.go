package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/warmrun/warmrun/engine"
)

// postOptions are what is sent: json or body, and how it is signed.
type postOptions struct {
	JSON    any               `json:"json"`
	Body    string            `json:"body"`
	Token   engine.Secret     `json:"token"` // as Authorization: Bearer
	Headers map[string]string `json:"headers"`
	Timeout time.Duration     `json:"timeout"`
}

type posted struct {
	Status int    `json:"status"`
	Body   string `json:"body"`
}

const (
	postTimeout = 10 * time.Second
	// postAnswer bounds what is read of an answer, postShown what an error shows.
	postAnswer = 64 << 10
	postShown  = 200
)

func httpOperations() []operation {
	return []operation{
		here("http", "post", engine.Change, "post to a URL from this node; an answer that is not a success is an error", []string{"url"}, func(*session) any {
			return post
		}),
	}
}

// post sends one request and follows no redirection. The URL of a webhook is a
// secret of its own: errors name only its host.
func post(ctx context.Context, to engine.Secret, o postOptions) (posted, error) {
	target, err := url.Parse(to.Reveal())
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return posted{}, engine.NotBegun(errors.New("http.post: the URL is not one that begins with https:// or http:// and a host"))
	}
	body, kind := []byte(o.Body), "text/plain; charset=utf-8"
	if o.JSON != nil {
		if body, err = json.Marshal(o.JSON); err != nil {
			return posted{}, engine.NotBegun(fmt.Errorf("http.post: json: %w", err))
		}
		kind = "application/json"
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(o.Timeout, postTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return posted{}, engine.NotBegun(fmt.Errorf("http.post to %s: the request cannot be made", target.Host))
	}
	request.Header.Set("Content-Type", kind)
	request.Header.Set("User-Agent", "warmrun/"+version)
	for name, value := range o.Headers {
		request.Header.Set(name, value)
	}
	if token := o.Token.Reveal(); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return sendPost(target.Host, request)
}

func sendPost(host string, request *http.Request) (posted, error) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	reply, err := client.Do(request)
	if err != nil {
		// The library's text holds the URL.
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return posted{}, fmt.Errorf("http.post to %s: %w", host, err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(io.LimitReader(reply.Body, postAnswer))
	if err != nil {
		return posted{}, fmt.Errorf("http.post to %s: read the answer: %w", host, err)
	}
	out := posted{Status: reply.StatusCode, Body: string(text)}
	if reply.StatusCode/100 == 2 {
		return out, nil
	}
	said := strings.Join(strings.Fields(string(text)), " ")
	return out, fmt.Errorf("http.post to %s: %s: %.*s", host, reply.Status, postShown, said)
}
