package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// delay is a long way to "the other node": a TUN device whose other end is this
// program, which holds each packet for a while before the kernel gets it back.
// Both ends of a connection are the kernel's own TCP, as over a real link; only
// the way between them is ours.
//
// This node is delayHere. A packet to delayThere comes back to this node, as
// one that was sent from there: the two addresses are exchanged, which leaves
// every checksum right. So one network namespace is enough, and whoever listens
// at delayHere is "the other node" for those who connect to delayThere.
//
// The kernel hands over long packets that it has not cut up yet, and takes them
// back so. That is what makes this cheap enough to be left out of account.
type delay struct {
	device  *os.File
	oneWay  time.Duration
	bytes   atomic.Int64 // of packets once they are cut up, both ways, with the headers of TCP and IP
	under   atomic.Int64 // bytes that are held
	dropped atomic.Int64
	held    chan packet
	done    sync.WaitGroup
}

type packet struct {
	due     time.Time
	content []byte
}

// Addresses for documentation (RFC 5737), which lead nowhere else.
const (
	delayHere  = "192.0.2.1"
	delayThere = "192.0.2.2"
)

// noDelayVar says why there is no device.
const noDelayVar = "WARMRUN_BENCH_NO_DELAY"

const (
	delayDevice = "slow0"
	delayMTU    = 1500
	// What may be under way, in packets and in bytes: many times what TCP lets
	// be. What comes on top is lost, as in a router.
	delayPackets = 100_000
	delayBytes   = 256 << 20
)

// openDelay makes the device in a network namespace of its own, which this
// thread and whatever it executes are in from then on: root can do that only.
// The file is left open for the program that is executed next.
func openDelay() (fd int, err error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("only root can make a TUN device: sudo make bench-delay")
	}
	// A kernel without TUN says so before anything is changed. What is opened
	// belongs to the namespace in which it is opened.
	probe, err := openTUN()
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread() // never unlocked: Demote executes from here
	if err := errors.Join(unix.Close(probe), unix.Unshare(unix.CLONE_NEWNET)); err != nil {
		return 0, fmt.Errorf("make a network namespace: %w", err)
	}
	if fd, err = openTUN(); err != nil {
		return 0, err
	}
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(sock)
	flags := func(f uint16) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { r.SetUint16(f); return nil }
	}
	number := func(n uint32) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { r.SetUint32(n); return nil }
	}
	address := func(a, b, c, d byte) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{a, b, c, d}) }
	}
	for _, step := range []struct {
		what    string
		fd      int
		request uint
		device  string
		set     func(*unix.Ifreq) error
	}{
		{"start loopback", sock, unix.SIOCSIFFLAGS, "lo", flags(unix.IFF_UP)},
		{"make the device", fd, unix.TUNSETIFF, delayDevice, flags(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)},
		{"set the address", sock, unix.SIOCSIFADDR, delayDevice, address(192, 0, 2, 1)},
		{"set the netmask", sock, unix.SIOCSIFNETMASK, delayDevice, address(255, 255, 255, 0)},
		{"set the packet size", sock, unix.SIOCSIFMTU, delayDevice, number(delayMTU)},
		{"set the queue", sock, unix.SIOCSIFTXQLEN, delayDevice, number(20_000)},
		{"start the device", sock, unix.SIOCSIFFLAGS, delayDevice, flags(unix.IFF_UP)},
	} {
		request, err := unix.NewIfreq(step.device)
		if err != nil {
			return 0, err
		}
		if err := errors.Join(step.set(request), unix.IoctlIfreq(step.fd, step.request, request)); err != nil {
			return 0, fmt.Errorf("TUN device %s: %s: %w", step.device, step.what, err)
		}
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4); err != nil {
		return 0, fmt.Errorf("TUN device %s: take packets that are not cut up: %w", delayDevice, err)
	}
	return fd, nil
}

func openTUN() (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		err = fmt.Errorf("open /dev/net/tun: %w", err)
	}
	return fd, err
}

// startDelay begins to hold packets: half the round trip each way. It is nil
// when there is no device.
func startDelay(roundTrip time.Duration) *delay {
	device := handed("tun")
	if device == nil {
		return nil
	}
	d := &delay{device: device, oneWay: roundTrip / 2, held: make(chan packet, delayPackets)}
	d.done.Go(d.take)
	d.done.Go(d.give)
	return d
}

func (d *delay) take() {
	defer close(d.held)
	buffer := make([]byte, vnetHeader+1<<16)
	for {
		n, err := d.device.Read(buffer)
		if err != nil {
			return // closed
		}
		if n < vnetHeader+20 || buffer[vnetHeader]>>4 != 4 {
			continue // no IPv4: the kernel looking for IPv6 routers
		}
		content := bytes.Clone(buffer[:n])
		exchange(content[vnetHeader:])
		if d.under.Load() > delayBytes {
			d.dropped.Add(1)
			continue
		}
		select {
		case d.held <- packet{time.Now().Add(d.oneWay), content}:
			d.under.Add(int64(n))
			d.bytes.Add(cutUp(content))
		default:
			d.dropped.Add(1)
		}
	}
}

// vnetHeader is the size of a struct virtio_net_hdr (linux/virtio_net.h), which
// says how a packet is to be cut up.
const vnetHeader = 10

// cutUp is how many bytes a packet has on the wire: its headers are repeated in
// each piece.
func cutUp(content []byte) int64 {
	all := len(content) - vnetHeader
	headers, piece := int(binary.NativeEndian.Uint16(content[2:])), int(binary.NativeEndian.Uint16(content[4:]))
	if piece == 0 || headers == 0 {
		return int64(all)
	}
	pieces := max(1, (all-headers+piece-1)/piece)
	return int64(all + (pieces-1)*headers)
}

// exchange swaps the source and the destination of an IPv4 packet (RFC 791).
// They are summed up in the checksums of IP and TCP, in any order.
func exchange(packet []byte) {
	from, to := binary.BigEndian.Uint32(packet[12:]), binary.BigEndian.Uint32(packet[16:])
	binary.BigEndian.PutUint32(packet[12:], to)
	binary.BigEndian.PutUint32(packet[16:], from)
}

func (d *delay) give() {
	for p := range d.held {
		time.Sleep(time.Until(p.due))
		d.under.Add(-int64(len(p.content)))
		if _, err := d.device.Write(p.content); err != nil {
			d.dropped.Add(1) // TCP sends it again
		}
	}
}

func (d *delay) stop() error {
	err := d.device.Close()
	d.done.Wait()
	return err
}
