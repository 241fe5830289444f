return test {
  runbook = "copyToStandby",
  answers = {
    ["psql.in_recovery"] = false,
    ["archive.check"] = true,
    ["archive.check_command"] = {},
    ["pg_ctl.may_control"] = true,
    ["cluster.node"] = { pgdata = "/srv/data" },
    ["archive.set_active"] = { was = false, lsn = lsn("0/30") },
    ["archive.wait"] = {},
    ["copy.base"] = { start_segment = "000000010000000000000003", stop_segment = "000000010000000000000004" },
    ["copy.verify"] = { files = 7 },
  },

  case { "the whole way", params = { start = true, verify = true }, sweep = true,
    calls = { "archive.set_active db1 {active=true}", "copy.base db1 {compress=s2, fast=true, streams=4, to=db2}", "copy.verify db2", "archive.pull db2",
      "archive.wait db2 {from=000000010000000000000003, segment=000000010000000000000004, timeout=10m0s}", "standby.configure db2", "pg_ctl.start db2" },
    says = { "Copying /srv/data to db2", "archiving_active written at 0/30" } },

  case { "without --start nothing is started there", never = { "pg_ctl.start", "pg_ctl.may_control", "copy.verify" } },

  case { "on a standby", answers = { ["psql.in_recovery"] = true }, fails = "db1 is in recovery", never = { "archive.set_active" } },

  case { "the server there does not come up", params = { start = true }, answers = { ["pg_ctl.start"] = fails "no space left" }, fails = "no space left",
    undone = { "start", "archiving" }, calls = { "pg_ctl.stop db2", "archive.set_active db1" } },
  case { "the server there could not be started", params = { start = true }, answers = { ["pg_ctl.may_control"] = false },
    fails = "the server on the other side can be started", never = { "archive.set_active" } },

  case { "the copy fails: archiving is off again", answers = { ["copy.base"] = fails "the link was cut" },
    fails = "the link was cut", undone = { "archiving" }, calls = { "copy.base", "archive.set_active db1" }, never = { "standby.configure" } },

  case { "archiving that was on stays on", answers = { ["copy.base"] = fails "the link was cut", ["archive.set_active"] = { was = true, lsn = lsn("0/30") } },
    fails = "the link was cut", undone = { "archiving" },
    expect = function(run)
      for _, call in ipairs(run.calls) do
        if call.name == "archive.set_active" then assert(call.args[2].active, "archiving was turned off") end
      end
    end },
}
