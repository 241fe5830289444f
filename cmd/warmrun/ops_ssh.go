package main

import (
	"context"
	"strings"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
)

func sshOperations() []operation {
	return []operation{
		here("ssh", "run", engine.Change, "run a shell command on another node, with its output shown live", []string{"node", "command"}, func(s *session) any {
			return func(ctx context.Context, node, command string) error {
				client, err := s.client(ctx, cluster.NodeName(node))
				if err != nil {
					return err
				}
				return client.Run(ctx, command, remote.Streams{Out: s.live(ctx), Err: s.live(ctx)})
			}
		}),
		here("ssh", "read", engine.Read, "the output of a shell command that changes nothing", []string{"node", "command"}, func(s *session) any {
			return func(ctx context.Context, node, command string) (string, error) {
				client, err := s.client(ctx, cluster.NodeName(node))
				if err != nil {
					return "", err
				}
				out, err := client.Output(ctx, command, nil)
				return strings.TrimRight(string(out), "\n"), err
			}
		}),
		here("ssh", "reachable", engine.Read, "whether a node answers over ssh", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) (bool, error) {
				_, err := s.client(ctx, cluster.NodeName(node))
				if remote.Unreachable(err) {
					return false, nil
				}
				return err == nil, err
			}
		}),
	}
}
