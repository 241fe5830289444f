package main

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestCallEndsInSilence: whoever has asked a node and is interrupted says so himself.
func TestCallEndsInSilence(t *testing.T) {
	program, err := exec.LookPath("warmrun")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "call")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("{\"protocol\":0}\n")); err != nil {
		t.Fatal(err)
	}
	if reply, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(reply, "do not understand each other") {
		t.Fatalf("got %q (%v), want a refusal of the protocol", reply, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || stderr.Len() > 0 {
		t.Errorf("told to end: exit status %d and %q, want %d and nothing said", code, stderr.String(), exitFailed)
	}
}
