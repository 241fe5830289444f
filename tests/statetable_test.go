package tests

// stateTable is every state of the nodes and what leads from one to another, in an
// order in which a cluster walks through all of them. runbooks/STATES.md has it
// for people.
//
// The states of a node, as the manual's diagrams have them. Of a primary: down, up
// (its WAL is dropped) and archiving. Of a standby or the DR node: empty, prepared,
// copied, down, recovery, and then up or archiving. An old primary that can start
// only as a standby is fenced.
func stateTable() []transition {
	return []transition{
		{on: "db1", command: "flushPrimary", refused: "archiving is not active on db1", hint: "copyToStandby"},
		{on: "db1", command: "switchover", refused: "db1 has no standby", hint: "configStandby"},
		{on: "db1", command: "copyToStandby", refused: "db2 has no archive", hint: "configStandby"},
		{on: "db1", command: "triggerStandby", refused: "triggerStandby runs on the standby, and db1 is a primary"},
		{on: "db1", command: "failover --yes", refused: "failover runs on the standby, and db1 is a primary"},
		{on: "db1", command: "configStandby", refused: "a primary server is running on db1"},
		{on: "db1", command: "stopStandby", refused: "stopStandby runs on the standby, and db1 is a primary"},
		{on: "db1", command: "startStandby", refused: "db1 is a primary"},
		{on: "db1", command: "rejoin", refused: "no other node that answers is a primary"},
		{on: "db1", command: "startPrimary", to: "db1 up, db2 empty, dr empty"},
		{on: "db2", command: "triggerStandby", refused: "db2 has no data directory"},
		{on: "db2", command: "failover --yes", refused: "db2 has no data directory"},
		{on: "db2", command: "startStandby", refused: "db2 has no copy to start from", hint: "warmrun configStandby on db2"},
		{on: "db2", command: "startPrimary", refused: "db2 was not stopped as a primary"},
		{on: "db2", command: "configStandby", to: "db1 up, db2 prepared, dr empty"},

		{on: "db2", command: "startStandby", refused: "db2 has no copy to start from", hint: "warmrun copyToStandby --start on the primary"},
		{on: "db1", command: "copyToStandby", to: "db1 archiving, db2 copied, dr empty"},

		{on: "db1", command: "switchover", refused: "the standby db2 is not running"},
		{on: "db2", command: "triggerStandby", refused: "db1 is running and accepts writes", hint: "warmrun switchover"},
		{on: "db2", command: "failover --yes", refused: "db1 is running and accepts writes", hint: "warmrun switchover"},
		{on: "db2", command: "startPrimary", refused: "db2 was not stopped as a primary"},
		{on: "db2", command: "startStandby", to: "db1 archiving, db2 recovery, dr empty"},

		{on: "db1", command: "copyToDR", refused: "dr has no archive", hint: "configStandby"},
		{on: "dr", command: "failover --yes", refused: "dr has no data directory"},
		{on: "dr", command: "configStandby", to: "db1 archiving, db2 recovery, dr prepared"},
		{on: "db1", command: "copyToDR --start", to: "db1 archiving, db2 recovery, dr recovery"},

		{on: "db1", command: "stopStandby", refused: "db1 is a primary"},
		{on: "db1", command: "startStandby", refused: "db1 is a primary"},
		{on: "db1", command: "configStandby", refused: "a primary server is running on db1"},
		{on: "db1", command: "triggerStandby", refused: "triggerStandby runs on the standby, and db1 is a primary"},
		{on: "db1", command: "failover --yes", refused: "failover runs on the standby, and db1 is a primary"},
		{on: "db1", command: "rejoin", refused: "no other node that answers is a primary"},
		{on: "db1", command: "copyToStandby", refused: "a standby server is running on db2"},
		{on: "db1", command: "copyToDR", refused: "a standby server is running on dr"},
		{on: "db2", command: "flushPrimary", refused: "flushPrimary runs on the primary, and db2 is a standby"},
		{on: "db2", command: "restartPrimary", refused: "restartPrimary runs on the primary, and db2 is a standby"},
		{on: "db2", command: "copyToStandby", refused: "copyToStandby runs on the primary, and db2 is a standby"},
		{on: "db2", command: "configStandby", refused: "a standby server is running on db2"},
		{on: "db2", command: "triggerStandby", refused: "db1 is running and accepts writes", hint: "warmrun switchover"},
		{on: "db2", command: "triggerStandby --handover", refused: "a handover is part of a switchover or failover"},
		{on: "db2", command: "failover --yes", refused: "db1 is running and accepts writes", hint: "warmrun switchover"},
		{on: "db2", command: "startPrimary", refused: "db2 was not stopped as a primary"},
		{on: "db2", command: "lowerFence", refused: "db2 is a standby"},
		{on: "dr", command: "triggerStandby", refused: "db1 is running and accepts writes"},
		{on: "dr", command: "failover --yes", refused: "db1 is running and accepts writes"},
		{on: "dr", command: "restartPrimary", refused: "restartPrimary runs on the primary, and dr is a standby"},
		{on: "dr", command: "stopStandby", to: "db1 archiving, db2 recovery, dr down"},
		{on: "db2", command: "stopStandby", to: "db1 archiving, db2 down, dr down"},

		{on: "db2", command: "stopStandby", refused: "db2 is a stopped standby"},
		{on: "db2", command: "triggerStandby", refused: "db1 is running and accepts writes"},
		{on: "db2", command: "startPrimary", refused: "db2 was not stopped as a primary"},
		{on: "db1", command: "switchover", refused: "the standby db2 is not running"},
		{on: "db1", command: "stopSite", refused: "the standby db2 is not running"},
		{on: "db2", command: "startStandby", to: "db1 archiving, db2 recovery, dr down"},

		{on: "db1", command: "flushPrimary", to: "db1 fenced, db2 recovery, dr down"},
		{on: "db1", command: "flushPrimary", refused: "flushPrimary runs on the primary, and db1 is a stopped"},
		{on: "db1", command: "configStandby", refused: "was a primary"},
		{on: "db1", command: "rejoin", refused: "no other node that answers is a primary"},
		{on: "db2", command: "startPrimary", refused: "db2 was not stopped as a primary"},
		{on: "db2", command: "switchover", refused: "db1"},
		{on: "db1", command: "startPrimary", to: "db1 archiving, db2 recovery, dr down"},
		{on: "db1", command: "flushPrimary", to: "db1 fenced, db2 recovery, dr down"},
		{on: "db2", command: "triggerStandby", to: "db1 fenced, db2 up, dr down"},

		{on: "db1", command: "startPrimary", refused: "db1 stays stopped", hint: "must not run"},
		{on: "db1", command: "rejoin", refused: "archiving is not active on db2", hint: "copyToStandby"},
		{on: "db2", command: "flushPrimary", refused: "archiving is not active on db2"},
		{on: "db2", command: "lowerFence", to: "db1 fenced, db2 up, dr down"},
		{on: "db1", command: "configStandby --erase", to: "db1 prepared, db2 up, dr down"},
		{on: "db2", command: "copyToStandby --start", to: "db1 recovery, db2 archiving, dr down"},
		{on: "dr", command: "switchover", to: "db1 archiving, db2 recovery, dr down"},
		{on: "db2", command: "switchback --yes", to: "db1 recovery, db2 archiving, dr down"},
		{on: "db1", command: "switchover", to: "db1 archiving, db2 recovery, dr down"},

		{on: "db1", dies: true, to: "db1 down, db2 recovery, dr down"},
		{on: "db1", command: "flushPrimary", refused: "flushPrimary runs on the primary, and db1 is a stopped primary"},
		{on: "db1", command: "configStandby", refused: "was a primary"},
		{on: "db1", command: "rejoin", refused: "no other node that answers is a primary"},
		{on: "db1", command: "triggerStandby", refused: "triggerStandby runs on the standby, and db1 is a stopped primary"},
		{on: "db1", command: "startStandby", refused: "db1 is a stopped primary"},
	}
}
