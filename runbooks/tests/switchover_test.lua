-- nested answers for the runbook of that name, and "" for the others.
local function nested(name, answer)
  return function(_, called) if called == name then return answer end return "" end
end

return test {
  runbook = "switchover",
  answers = {
    ["cluster.pair"] = { primary = "db1", standby = "db2" },
    ["cluster.node"] = { pgdata = "/srv/data" },
    ["pg_ctl.status"] = { running = true },
    ["pg_ctl.may_control"] = true,
    ["standby.follows_primary"] = { ok = true },
    ["archive.set_active"] = { was = false },
    ["standby.position"] = { timeline = 1, lsn = lsn("0/B000000") },
    ["standby.shutdown_point"] = { timeline = 1, checkpoint = lsn("0/C000028"), end_lsn = lsn("0/C0000A0"), segment = "00000001000000000000000C", clean = true },
    ["standby.prove_replay"] = { lsn = lsn("0/C0000A0"), how = "its server says so" },
    ["standby.hash_end"] = { sha256 = "abcd" },
    ["runs.certify"] = { path = "/srv/runs/1/certificate.txt" },
    ["fence.raise"] = { timeline = 1, lsn = lsn("0/C0000A0") },
    ["standby.opened"] = { timeline = 2, lsn = lsn("0/C000110") },
    ["standby.lineage"] = { timeline = 2, lsn = lsn("0/D000110"), system_identifier = "7", history = { { timeline = 1, ["end"] = lsn("0/C0000A0"), reason = "" } } },
    ["standby.forked"] = { parent = 1, lsn = lsn("0/C0000A0") },
    ["archive.wait"] = {},
    ["archive.switch"] = { lsn = lsn("0/D000000") },
    ["standby.follows"] = {},
    ["runbooks.run"] = nested("triggerStandby", no_return("")),
  },

  case { "they change places", params = { drain = "10s" }, sweep = true,
    calls = { "archive.set_active db2 {active=true}", "runbooks.run db1 flushPrimary {accept_lost_slots=false, accept_missing_libraries=false, drain=10s, max_backlog=16, max_lag=67108864, relay=false}", "standby.shutdown_point db1",
      "standby.prove_replay db2 {checkpoint=0/C000028, lsn=0/C0000A0, seen={lsn=0/B000000, timeline=1}, timeline=1, timeout=10m0s}", "fence.raise db2 {by=switchover, lsn=0/C0000A0, timeline=1}",
      "rivals.check db2 {handover=true, stopped=db1}", "runbooks.run db2 triggerStandby {archiving=true, handover=true}",
      "standby.hash_end db1 {end_lsn=0/C0000A0, segment=00000001000000000000000C}", "standby.hash_end db2 {archive=true, end_lsn=0/C0000A0, segment=00000001000000000000000C}", "archive.wait db1 {history=2, timeout=5m0s}", "standby.clear_wal db1", "pg_ctl.start db1", "archive.switch db2",
      "standby.follows db1 {lsn=0/D000000, timeout=10m0s}", "relay.try db1 {to=dr}", "runs.certify db1" },
    says = { "The certificate is /srv/runs/1/certificate.txt", "db1 is the primary and db2 the standby", "db1 follows db2 on timeline 2, without a rewind or a new copy" } },

  case { "what is lost is accepted", params = { accept_lost_slots = true }, calls = { "runbooks.run db1 flushPrimary {accept_lost_slots=true, accept_missing_libraries=false, drain=60s, max_backlog=16, max_lag=67108864, relay=false}" } },
  case { "to the standby by its name", params = { to = "db2" }, calls = { "runbooks.run db2 triggerStandby" } },
  case { "without a DR node", vars = { dr = false }, never = { "relay.try" } },

  -- Nothing is stopped.
  case { "the standby is down", answers = { ["pg_ctl.status"] = { running = false } }, fails = "the standby db2 is not running", hint = "pg_ctl -D /srv/data start", never = { "runbooks.run" } },
  case { "to the node that is the primary", params = { to = "db1" }, fails = "db1 is the primary already", hint = "--to db2", never = { "runbooks.run" } },
  case { "to the DR node", params = { to = "dr" }, fails = "dr is the DR node: a switchover changes the places of db1 and db2", hint = "warmrun flushPrimary on db1, warmrun triggerStandby --archiving on dr, then start the server on db1", never = { "runbooks.run" } },
  case { "two primaries", answers = { ["cluster.pair"] = fails "both db1 and db2 accept writes" }, fails = "both db1 and db2", never = { "runbooks.run" } },
  case { "a server that may not be stopped", answers = { ["pg_ctl.may_control"] = false }, fails = "can be stopped and started again", never = { "runbooks.run" } },
  case { "the standby has diverged", answers = { ["standby.follows_primary"] = { ok = false, reason = "db2 has diverged" } }, fails = "db2 has diverged", never = { "runbooks.run" } },
  case { "flushPrimary refuses", answers = { ["runbooks.run"] = nested("flushPrimary", fails { "40 segments wait", begun = false }) }, fails = "40 segments wait", undone = { "ready" }, calls = { "archive.set_active db2 {active=true}", "archive.set_active db2" }, never = { "standby.bring_back" } },

  -- The old primary comes back.
  case { "the flush fails", answers = { ["runbooks.run"] = nested("flushPrimary", fails "did not stop") }, fails = "did not stop", undone = { "flush", "ready" },
    calls = { "standby.bring_back db1 {partner=db2, undo=true}" }, never = { "fence.raise" } },
  case { "the standby has not replayed it all", answers = { ["standby.prove_replay"] = fails "stands at 0/B0" }, fails = "stands at 0/B0", undone = { "flush", "ready" },
    calls = { "standby.bring_back db1" }, never = { "fence.raise" } },
  case { "the fence cannot be raised", answers = { ["fence.raise"] = fails "no archive took it" }, fails = "no archive", undone = { "fence", "flush", "ready" },
    calls = { "fence.lower db2 {by=switchover, lsn=0/C0000A0, timeline=1}", "standby.bring_back db1" } },
  case { "the promotion is refused", answers = { ["runbooks.run"] = nested("triggerStandby", fails { "dr accepts writes", begun = false }) }, fails = "dr accepts writes", passed = false,
    undone = { "fence", "flush", "ready" }, calls = { "fence.lower db2", "standby.bring_back db1" } },
  case { "it cannot come back", answers = { ["fence.raise"] = fails "no archive took it", ["standby.bring_back"] = fails "db2 may have been promoted" }, fails = "no archive",
    undone = { "fence", "ready" }, left = { "flush" } },

  case { "another node has come up meanwhile", answers = { ["rivals.check"] = fails "dr is running and accepts writes" }, fails = "dr is running", passed = false,
    undone = { "fence", "flush", "ready" }, calls = { "fence.lower db2", "standby.bring_back db1" } },

  -- Nothing starts the old primary any more.
  case { "the answer of the promotion is lost", answers = { ["runbooks.run"] = nested("triggerStandby", no_return(fails "the connection broke")) }, fails = "the connection broke", passed = true,
    never = { "standby.bring_back", "fence.lower", "pg_ctl.start" } },
  case { "the new timeline forks elsewhere", answers = { ["standby.forked"] = { parent = 1, lsn = lsn("0/B000000") } },
    fails = "timeline 2 left timeline 1 at 0/B000000, and the WAL of db1 ends at 0/C0000A0 on timeline 1", hint = "warmrun rejoin on db1", passed = true, never = { "pg_ctl.start" } },
  case { "the last segment is not the same", answers = { ["standby.hash_end"] = each { { sha256 = "abcd" }, { sha256 = "ef01" } } },
    fails = "is not the same on db1 and in the archive on db2", passed = true, never = { "pg_ctl.start", "standby.bring_back" } },
  case { "the certificate cannot be written", answers = { ["runs.certify"] = fails "no space left" }, fails = "no space left", passed = true, never = { "standby.bring_back" } },
  case { "the old primary does not follow", answers = { ["standby.follows"] = fails "not within 10m" }, fails = "not within 10m", passed = true, never = { "standby.bring_back" } },
}
