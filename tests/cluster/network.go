package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// network is the nodes' own: a namespace for each of them, and one with a
// switch between each two of them. None has a name, so the kernel removes them
// and all that is in them when the test lets go of them, even if it is killed.
type network struct {
	names    []string
	nodes    map[string]*os.File
	switches *os.File
}

// newNetwork joins every two of the nodes. It ends with the test.
func newNetwork(t testing.TB, names []string) *network {
	t.Helper()
	w := &network{names: names, nodes: map[string]*os.File{}}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.build(); err != nil {
		t.Fatalf("make a network, which needs root and iproute2: %v", err)
	}
	return w
}

// build makes the namespaces and the links.
func (w *network) build() (err error) {
	if w.switches, err = newNetworkNamespace(); err != nil {
		return err
	}
	for _, name := range w.names {
		if w.nodes[name], err = newNetworkNamespace(); err != nil {
			return err
		}
		if err := ip(w.nodes[name], "link set lo up", "address add "+w.address(name)+"/32 dev lo"); err != nil {
			return err
		}
	}
	for i, a := range w.names {
		for _, b := range w.names[i+1:] {
			if err := w.join(a, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func newNetworkNamespace() (ns *os.File, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// address is a node's, wherever it is reached from.
func (w *network) address(name string) string {
	for i, other := range w.names {
		if other == name {
			return fmt.Sprintf("10.72.0.%d", 11+i)
		}
	}
	return ""
}

// join lays a link: a switch, and a cable from it to each of the two nodes. A
// node whose switch is off sees nothing of it but silence.
func (w *network) join(a, b string) error {
	power := bridge(a, b)
	if err := ip(w.switches, "link add "+power+" type bridge"); err != nil {
		return err
	}
	for _, end := range [][2]string{{a, b}, {b, a}} {
		from, to := end[0], end[1]
		port, plug := "port-"+from+"-"+to, "to-"+to
		if err := ipWith(w.nodes[from], w.switches,
			"link add "+port+" type veth peer name "+plug+" netns /proc/self/fd/3",
			"link set "+port+" master "+power, "link set "+port+" up"); err != nil {
			return err
		}
		if err := ip(w.nodes[from], "link set "+plug+" up",
			"route add "+w.address(to)+"/32 dev "+plug+" src "+w.address(from),
			"ntable change name arp_cache dev "+plug+" "+soonLost); err != nil {
			return err
		}
	}
	return w.restore(a, b)
}

// soonLost makes the kernel say "no route to host" after a second of silence,
// where it would take a quarter of a minute: tests wait for that many times.
const soonLost = "base_reachable 1000 delay_probe 300 retrans 300 ucast_probes 1 mcast_probes 1"

// bridge is the name of the switch between two nodes.
func bridge(a, b string) string { return "sw-" + min(a, b) + "-" + max(a, b) }

func (w *network) cut(a, b string) error { return ip(w.switches, "link set "+bridge(a, b)+" down") }

func (w *network) restore(a, b string) error { return ip(w.switches, "link set "+bridge(a, b)+" up") }

func (w *network) close() error {
	errs := []error{w.switches.Close()}
	for _, ns := range w.nodes {
		errs = append(errs, ns.Close())
	}
	return errors.Join(errs...)
}

// ip runs commands of ip(8) in a namespace.
func ip(ns *os.File, commands ...string) error { return ipWith(nil, ns, commands...) }

// ipWith is ip with a file open as number 3.
func ipWith(extra, ns *os.File, commands ...string) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		cmd := exec.Command("/bin/sh", "-c", "PATH=$PATH:/usr/sbin:/sbin exec ip -batch -")
		cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
		if extra != nil {
			cmd.ExtraFiles = []*os.File{extra}
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip %q: %w: %s", commands, err, out)
		}
		return nil
	})
}

// each does something with the links to all other nodes, where there are any.
func (n *Node) each(do func(w *network, a, b string) error) error {
	if n.c.network == nil {
		return nil
	}
	var errs []error
	for _, other := range n.c.network.names {
		if other != n.Name {
			errs = append(errs, do(n.c.network, n.Name, other))
		}
	}
	return errors.Join(errs...)
}

// CutLink takes the link to another node down: nothing arrives any more, and
// neither side is told. What runs on the two goes on.
func (n *Node) CutLink(other *Node) {
	n.c.t.Helper()
	n.must(n.c.network.cut(n.Name, other.Name))
}

// RestoreLink takes the link to another node up again.
func (n *Node) RestoreLink(other *Node) {
	n.c.t.Helper()
	n.must(n.c.network.restore(n.Name, other.Name))
}

// CutAll takes all links of the node down.
func (n *Node) CutAll() {
	n.c.t.Helper()
	n.must(n.each((*network).cut))
}

// RestoreAll takes all links of the node up again.
func (n *Node) RestoreAll() {
	n.c.t.Helper()
	n.must(n.each((*network).restore))
}

func (n *Node) must(err error) {
	n.c.t.Helper()
	if err != nil {
		n.c.t.Fatalf("%s: %v", n.Name, err)
	}
}
