package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const roundTrip = 100 * time.Millisecond

// delayPart: a copy over a long way. The files cannot be compressed, so that
// nothing but the way is measured.
func delayPart(ctx context.Context, b *bench) (err error) {
	d := startDelay(roundTrip)
	if d == nil {
		b.say("\ncopy over a link of 100 ms: not measured: %s", os.Getenv(noDelayVar))
		return nil
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	dir := b.path("delay")
	// 1 GB, as unevenly as a database has it; or 60 MB of it.
	unit := b.rounds(1<<20, 1<<16)
	t, err := randomTree(filepath.Join(dir, "src"), group{1, 512 * unit}, group{16, 16 * unit}, group{185, unit})
	if err != nil {
		return err
	}
	ours, err := b.newSlowLink(ctx, d)
	if err != nil {
		return err
	}
	theirs, err := b.newSlowLink(ctx, d)
	if err != nil {
		return err
	}
	peers, err := b.peersOver(ours, theirs, dir, t, "-a")
	if err != nil {
		return err
	}
	err = b.runTransfers(ctx, transferTable{
		part: "delay", load: "incompressible", title: "copy over a link of 100 ms round trip", rounds: b.rounds(3, 2), tree: t, peers: peers,
		before: b.discardCopy, after: b.discardCopy,
	})
	if err != nil {
		return err
	}
	seen, err := connectTime(ours)
	if err != nil {
		return err
	}
	b.say("a TUN device of MTU %d in a network namespace of its own, each packet held %s each way: connecting takes %s;\n"+
		"TCP from end to end, wire with its headers; %d packets lost", delayMTU, roundTrip/2, seen.Round(time.Millisecond), d.dropped.Load())
	return b.discard(dir)
}

// connectTime is one round trip.
func connectTime(l *link) (time.Duration, error) {
	start := time.Now()
	conn, err := net.Dial("tcp", net.JoinHostPort(l.host, strconv.Itoa(l.port)))
	if err != nil {
		return 0, err
	}
	return time.Since(start), conn.Close()
}
