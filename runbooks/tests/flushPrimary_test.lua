local diverged = { ok = false, reason = "db2 has diverged" }

return test {
  runbook = "flushPrimary",
  answers = {
    ["psql.in_recovery"] = false,
    ["psql.value"] = 3,
    ["archive.active"] = true,
    ["standby.follows_primary"] = { ok = true },
    ["archive.working"] = true,
    ["archive.check"] = true,
    ["pg_ctl.may_control"] = true,
    ["standby.fit"] = true,
    ["archive.backlog"] = { ready = 1 },
    ["archive.switch"] = { lsn = lsn("0/B00158") },
    ["archive.drain"] = { ready = 0 },
    ["standby.flush"] = { end_lsn = lsn("0/C0000A0"), timeline = 1 },
  },

  case { "the whole way", params = { drain = "2s" }, sweep = true,
    calls = { "copy.logs db1 {to=db2}", "psql.exec db1 CHECKPOINT", "archive.switch db1", "archive.drain db1", "rivals.none_promoted db1", "standby.fit db1 {max_lag=67108864, standby=db2}", "standby.ready_to_flush db1 {to=db2}", "pg_ctl.stop db1 {drain=2s, timeout=10m0s}",
      "standby.configure db1 {fence=true}", "archive.set_active db1", "standby.flush db1 {to=db2}", "relay.try db2 {to=dr}" },
    says = { "through the shutdown checkpoint, up to 0/C0000A0", "warmrun triggerStandby --archiving on db2" },
    plan = { "the outage begins: clients cannot write from here", "clients cannot write from step stop on",
      "stop: 3 clients are connected and have 2s to finish; then a fast stop, of at most 10m", "stop the server on db1: no new connections, clients have 2s to finish" } },

  -- Before the stop: the server is left alone.
  case { "on a standby", answers = { ["psql.in_recovery"] = true }, fails = "db1 is in recovery", never = { "pg_ctl.stop" } },
  case { "archiving is off", answers = { ["archive.active"] = false }, fails = "archiving is not active", never = { "pg_ctl.stop" } },
  case { "another was promoted", answers = { ["rivals.none_promoted"] = fails "dr was promoted" }, fails = "dr was promoted", never = { "pg_ctl.stop" } },
  case { "the standby does not follow", answers = { ["standby.follows_primary"] = diverged }, fails = "db2 has diverged", hint = "warmrun rejoin", never = { "pg_ctl.stop" } },
  case { "the archiver fails", answers = { ["archive.working"] = fails "connection refused" }, fails = "connection refused", never = { "pg_ctl.stop" } },
  case { "another cluster's archive", answers = { ["archive.check"] = fails "belongs to cluster 1" }, fails = "belongs to cluster 1", never = { "pg_ctl.stop" } },
  case { "the server may not be stopped", answers = { ["pg_ctl.may_control"] = false }, fails = "can be stopped and started again", never = { "pg_ctl.stop" } },
  case { "the nodes are not fit", answers = { ["standby.fit"] = fails { "2 prepared transactions are open on db1", hint = "ROLLBACK PREPARED" } }, fails = "2 prepared transactions", hint = "ROLLBACK PREPARED", never = { "pg_ctl.stop" } },
  case { "something has come up since the checks", answers = { ["standby.fit"] = each { true, fails "a base backup of db1 is under way" } }, fails = "a base backup", undone = {}, never = { "pg_ctl.stop" } },
  case { "it is over by the next look", answers = { ["standby.fit"] = each { true, fails "replay is paused on db2", true } }, calls = { "pg_ctl.stop" } },
  case { "another is promoted while it drains", answers = { ["rivals.none_promoted"] = each { {}, fails "dr was promoted" } }, fails = "dr was promoted", undone = {}, never = { "pg_ctl.stop" } },
  case { "the standby's archive cannot be reached right before the stop", answers = { ["standby.ready_to_flush"] = fails "connection refused" }, fails = "connection refused", undone = {}, never = { "pg_ctl.stop" } },
  case { "a long backlog", answers = { ["archive.backlog"] = { ready = 40 } }, fails = "40 segments still wait to be archived, more than --max-backlog 16", never = { "pg_ctl.stop" } },
  case { "a backlog that shrinks", answers = { ["archive.backlog"] = each { { ready = 40 }, { ready = 2 } } } },
  case { "the archiver does not come to an end", answers = { ["archive.drain"] = fails "still 3 after 10m" }, fails = "still 3", undone = {}, never = { "pg_ctl.stop" } },

  -- After it: the primary comes back.
  case { "the stop fails", answers = { ["pg_ctl.stop"] = fails "did not stop in 10m" }, fails = "did not stop", undone = { "stop" },
    calls = { "pg_ctl.stop", "standby.bring_back db1 {partner=db2, undo=true}" }, never = { "standby.configure" } },
  case { "the stop was refused", answers = { ["pg_ctl.stop"] = fails { "no permission", begun = false } }, fails = "no permission", undone = {}, never = { "standby.bring_back" } },
  case { "the signal file cannot be written", answers = { ["standby.configure"] = fails "no space left" }, fails = "no space left", undone = { "fence", "stop" },
    calls = { "archive.set_active db1 {active=true}", "standby.bring_back db1" } },
  case { "the last segment does not arrive", answers = { ["standby.flush"] = fails "the link was cut" }, fails = "the link was cut", undone = { "fence", "stop" },
    calls = { "standby.flush", "standby.flush", "standby.flush", "archive.set_active db1 {active=true}", "standby.bring_back db1" }, never = { "relay.try" } },
  case { "the last segment arrives at the second try", answers = { ["standby.flush"] = each { fails "the link was cut", { end_lsn = lsn("0/C0000A0") } } } },
  case { "it cannot come back", answers = { ["standby.flush"] = fails "the link was cut", ["standby.bring_back"] = fails "db2 may have been promoted" },
    fails = "the link was cut", undone = { "fence" }, left = { "stop" } },

  case { "part of a switchover: the DR node waits", params = { relay = false }, never = { "relay.try" },
    expect = function(run) assert(not run.output:find("To go on", 1, true), run.output) end },
  case { "without a DR node", vars = { dr = false }, never = { "relay.try" }, says = { "To go on: warmrun triggerStandby" } },
}
