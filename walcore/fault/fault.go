// Package fault names the steps at which a process that handles WAL or drives a run can die,
// so that a test can kill it at each of them and see what is left.
//
// In the program that people run, At does nothing and is compiled away. A test
// builds it with the tag "faults": then a file named "faults" beside the binary
// says with which probability a process kills itself at a step, and where it
// notes that it did. Processes on other nodes are started by sshd, so a file
// reaches them where no environment does.
package fault

import "strings"

// Step is a place in the life of one WAL file. A process that dies there has
// done all that comes before it and nothing of what its name says.
type Step string

// The steps, in the order in which one segment passes them.
const (
	// In the call of archive_command.
	CallConnect Step = "call: connect to the shipper"
	CallAsk     Step = "call: ask the shipper"
	CallAnswer  Step = "call: answer the server"
	// In the shipper.
	ShipperListen Step = "shipper: listen"
	ShipperOffer  Step = "shipper: offer a file"
	ShipperSend   Step = "shipper: send a piece"
	ShipperWait   Step = "shipper: wait for the acknowledgement"
	ShipperAnswer Step = "shipper: answer the call"
	// In the agent.
	AgentOffer       Step = "agent: answer an offer"
	AgentWrite       Step = "agent: write the file"
	AgentFlush       Step = "agent: flush the file"
	AgentRename      Step = "agent: name the file"
	AgentFlushDir    Step = "agent: flush the directory"
	AgentAcknowledge Step = "agent: acknowledge"
	AgentWake        Step = "agent: wake the server"
	// In the call of restore_command. The server takes one that is killed for
	// its own shutdown where the signal is SIGTERM, and for "not there" else.
	RestoreState Step = "restore: note what is wanted"
	RestoreCopy  Step = "restore: copy the file"
	RestoreDone  Step = "restore: answer the server"
)

// Rewind is the step between setting an archive in the data directory aside and
// pg_rewind. No segment passes it, so it is not in Steps.
const Rewind Step = "rejoin: rewind"

// BeforeEvent and AfterEvent are the steps around the writing of an event into
// the journal of a run: "step ended" of step "stop". They are not in Steps, since
// every runbook has its own.
func BeforeEvent(event, step string) Step {
	return Step(strings.TrimSpace("run: before " + event + " " + step))
}

// AfterEvent is the step behind BeforeEvent.
func AfterEvent(event, step string) Step {
	return Step(strings.TrimSpace("run: after " + event + " " + step))
}

// Steps lists them all.
func Steps() []Step {
	return []Step{
		CallConnect, CallAsk, CallAnswer,
		ShipperListen, ShipperOffer, ShipperSend, ShipperWait, ShipperAnswer,
		AgentOffer, AgentWrite, AgentFlush, AgentRename, AgentFlushDir, AgentAcknowledge, AgentWake,
		RestoreState, RestoreCopy, RestoreDone,
	}
}
