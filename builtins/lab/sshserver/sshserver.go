// Package sshserver is the ssh server of a lab node. It does what warmrun asks
// of an OpenSSH server: it runs commands with their streams, signals and exit
// status, and forwards connections to unix sockets. It has no terminals, no
// shells, no file transfer and no other forwarding.
//
// It accepts one user with one key and is meant for loopback addresses. The
// commands run as the user that this process runs as.
package sshserver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// handshakeTimeout bounds what a client that connects and says nothing costs.
const handshakeTimeout = 10 * time.Second

// Config is what one server offers, and to whom.
type Config struct {
	HostKey ssh.Signer
	// User and ClientKey are the only login there is.
	User      string
	ClientKey ssh.PublicKey
	// Env and Dir are the environment and the working directory of every
	// command. What a client asks to set is ignored.
	Env []string
	Dir string
}

// Server is a running server.
type Server struct {
	config   Config
	listener net.Listener
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // that are open
}

// Start serves the listener until ctx ends or Close is called.
func Start(ctx context.Context, listener net.Listener, config Config) *Server {
	ctx, stop := context.WithCancel(ctx)
	s := &Server{config: config, listener: listener, stop: stop, conns: map[net.Conn]bool{}}
	s.done.Go(func() {
		<-ctx.Done()
		// What it says of a listener that is closed already helps nobody.
		_ = listener.Close()
	})
	s.done.Go(func() { s.accept(ctx) })
	return s
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close ends the server like a host that drops off the network: connections
// break, and commands that do not end with their connection are killed.
// Processes that left their session, as a PostgreSQL server started by pg_ctl
// has, go on. It returns when nothing of the server runs any more.
func (s *Server) Close() {
	s.stop()
	s.done.Wait()
}

// Drop breaks the connections that are open, like Close, and goes on serving. It
// does not wait for what their commands come to.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close() // the other side sees it, and nobody else asks
	}
}

// track notes a connection as open until forget is called.
func (s *Server) track(conn net.Conn) (forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[conn] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
	}
}

func (s *Server) accept(ctx context.Context) {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, most likely: give others time to go.
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		s.done.Go(func() { s.serve(ctx, conn) })
	}
}

func (s *Server) serve(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer cancel()
	defer s.track(conn)()
	sessions.Go(func() {
		<-ctx.Done()
		_ = conn.Close()
	})
	if conn.SetDeadline(time.Now().Add(handshakeTimeout)) != nil {
		return
	}
	sconn, channels, requests, err := ssh.NewServerConn(conn, s.serverConfig())
	if err != nil || conn.SetDeadline(time.Time{}) != nil {
		return // the client has been told; there is nobody else to tell
	}
	// Keepalives are global requests: answered with "no such request", which
	// is all that they want.
	sessions.Go(func() { ssh.DiscardRequests(requests) })
	for offered := range channels {
		switch offered.ChannelType() {
		case "session":
			sessions.Go(func() { s.session(ctx, offered) })
		case "direct-streamlocal@openssh.com":
			sessions.Go(func() { forward(ctx, offered) })
		default:
			// A failed answer means a broken connection, which ends the loop.
			_ = offered.Reject(ssh.UnknownChannelType, "a lab node runs commands and forwards to unix sockets, nothing else")
		}
	}
	_ = sconn.Close()
}

func (s *Server) serverConfig() *ssh.ServerConfig {
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-warmrun_lab",
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if meta.User() != s.config.User {
				return nil, fmt.Errorf("only %s can log in here", s.config.User)
			}
			if !bytes.Equal(key.Marshal(), s.config.ClientKey.Marshal()) {
				return nil, errors.New("this is not the key of the lab")
			}
			return nil, nil
		},
	}
	config.AddHostKey(s.config.HostKey)
	return config
}

// NewKey makes an Ed25519 key pair. The private half also comes in the format
// of an OpenSSH key file.
func NewKey(comment string) (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return nil, nil, err
	}
	return signer, pem.EncodeToMemory(block), nil
}
