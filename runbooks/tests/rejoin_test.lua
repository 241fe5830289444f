local lineage = { timeline = 2, lsn = lsn("0/D000110"), system_identifier = "7", history = { { timeline = 1, ["end"] = lsn("0/C0000A0"), reason = "" } } }

-- way is what standby.returns finds.
local function way(name, more)
  local found = { way = name, why = "db1 needs: " .. name, running = false, writes = false, diverged = false, empty = false, timeline = 1, fork = lsn("0/C0000A0"), end_lsn = lsn("0/C0000A0") }
  for key, value in pairs(more or {}) do found[key] = value end
  return found
end

local own = { diverged = true, end_lsn = lsn("0/C100000") }

return test {
  runbook = "rejoin",
  answers = {
    ["cluster.superseding"] = { node = "db2", lineage = lineage },
    ["archive.active"] = true,
    ["pg_ctl.may_control"] = true,
    ["standby.returns"] = way("start"),
    ["standby.keep_wal"] = { path = "/srv/kept", files = 2 },
    ["archive.wait"] = {},
    ["cluster.others"] = { "db1", "dr" },
    ["archive.switch"] = { lsn = lsn("0/E000000"), segment = "00000002000000000000000D", timeline = 2 },
    ["standby.follows"] = {},
  },

  case { "all it has is on the primary's history", sweep = true,
    calls = { "standby.configure db1 {fence=true}", "archive.set_active db1", "archive.wait db1 {history=2, timeout=5m0s}", "archive.pull db1 {from=db2, lenient=true}", "standby.slot db2 {standby=db1}", "standby.clear_wal db1", "pg_ctl.start db1",
      "archive.switch db2", "standby.follows db1 {lsn=0/E000000, timeout=10m0s}", "standby.slot db1 {drop=true, standby=db2}" },
    never = { "pg_ctl.stop", "standby.keep_wal", "standby.rewind", "runbooks.run" },
    says = { "db1 needs: start", "db1 follows db2 on timeline 2" } },

  case { "it follows already", answers = { ["standby.returns"] = way("follows", { running = true }) }, never = { "pg_ctl.stop", "pg_ctl.start", "standby.configure", "runbooks.run" }, calls = { "standby.follows db1" } },

  case { "it has WAL of its own", sweep = true, answers = { ["standby.returns"] = way("rewind", own) },
    calls = { "standby.configure db1 {fence=true}", "standby.keep_wal db1 {end_lsn=0/C100000, fork=0/C0000A0, timeline=1}", "standby.rewind db1 {primary=db2}", "pg_ctl.start db1" },
    says = { "2 WAL files that only db1 has are kept in /srv/kept" }, never = { "runbooks.run" } },

  case { "it accepts writes beside the primary", answers = { ["standby.returns"] = each { way("rewind", { running = true, writes = true, diverged = true }), way("copy", { why = "no checksums", diverged = true }) } },
    calls = { "pg_ctl.stop db1", "standby.configure db1 {fence=true}", "standby.keep_wal db1", "runbooks.run db1 configStandby {erase=true}", "runbooks.run db2 copyToStandby {start=true}" },
    says = { "db1 accepts writes beside db2: it is stopped first", "no checksums" }, never = { "standby.rewind" } },

  case { "a copy is asked for", params = { copy = true }, answers = { ["standby.returns"] = way("start", { running = true }) },
    calls = { "pg_ctl.stop db1", "runbooks.run db2 copyToStandby" }, never = { "pg_ctl.start", "standby.keep_wal" } },

  case { "there is nothing yet", answers = { ["standby.returns"] = way("copy", { empty = true, timeline = 0 }) }, calls = { "runbooks.run db1 configStandby" }, never = { "standby.configure", "pg_ctl.stop" } },
  case { "the DR node", vars = { node = "dr" }, answers = { ["standby.returns"] = way("copy", own) }, calls = { "runbooks.run db2 copyToDR {start=true}" } },
  case { "the DR node's standby is down", vars = { node = "dr" }, answers = { ["relay.run"] = fails "db1 is down" }, calls = { "pg_ctl.start dr", "standby.follows dr" }, says = { "db1 has not relayed all: ", "dr follows db2" } },
  case { "the DR node has its WAL relayed", vars = { node = "dr" }, calls = { "archive.wait db1 {history=2, timeout=5m0s}", "relay.run db1 {to=dr}", "archive.wait dr {history=2, timeout=5m0s}", "pg_ctl.start dr", "archive.switch db2", "archive.wait db1 {segment=00000002000000000000000D, timeout=1m0s}", "relay.run db1 {to=dr}", "standby.follows dr" } },

  -- Nothing is changed.
  case { "no primary answers", answers = { ["cluster.superseding"] = fails "no other node that answers is a primary" }, fails = "no other node", never = { "pg_ctl.stop", "standby.configure" } },
  case { "the primary ships nothing", answers = { ["archive.active"] = false }, fails = "archiving is not active on db2", never = { "pg_ctl.stop", "standby.configure" } },
  case { "its server may not be stopped", answers = { ["pg_ctl.may_control"] = false }, fails = "can be stopped and started", never = { "pg_ctl.stop" } },
  case { "another cluster", answers = { ["standby.returns"] = fails "holds another cluster" }, fails = "another cluster", never = { "pg_ctl.stop", "standby.configure" } },

  -- It stays a node that can start only as a standby.
  case { "it does not stop", answers = { ["standby.returns"] = way("rewind", { running = true, diverged = true }), ["pg_ctl.stop"] = fails "did not stop" }, fails = "did not stop", never = { "standby.configure", "standby.rewind" } },
  case { "the signal file cannot be written", answers = { ["standby.configure"] = fails "no space left" }, fails = "no space left", never = { "pg_ctl.start", "standby.rewind" } },
  case { "its WAL cannot be kept", answers = { ["standby.returns"] = way("rewind", own), ["standby.keep_wal"] = fails "no space left" }, fails = "no space left", never = { "standby.rewind" } },
  case { "pg_rewind fails", answers = { ["standby.returns"] = way("rewind", own), ["standby.rewind"] = fails "could not find common ancestor" }, fails = "common ancestor", hint = "warmrun rejoin --copy", never = { "pg_ctl.start" } },
  case { "the copy fails", answers = { ["standby.returns"] = way("copy", own), ["runbooks.run"] = function(_, name) if name == "copyToStandby" then return fails "the disk is full" end return "" end }, fails = "the disk is full", never = { "standby.follows" } },
  case { "the history does not arrive", answers = { ["archive.wait"] = fails "did not arrive" }, fails = "did not arrive", never = { "pg_ctl.start" } },
  case { "WAL that nobody else has cannot be put aside", answers = { ["standby.clear_wal"] = fails "no space left" }, fails = "no space left", never = { "pg_ctl.start" } },
  case { "it does not start", answers = { ["pg_ctl.start"] = fails "no server came up" }, fails = "no server came up", never = { "standby.follows" } },
  case { "it does not follow", answers = { ["standby.follows"] = fails "not within 10m" }, fails = "not within 10m", hint = "warmrun rejoin --copy" },
}
