-- nested answers for the runbook of that name, and "" for the others.
local function nested(name, answer)
  return function(_, called) if called == name then return answer end return "" end
end

return test {
  runbook = "switchover",
  answers = {
    ["shell.read"] = "1.18",
    ["cluster.pair"] = { primary = "db1", standby = "db2" },
    ["cluster.node"] = { pgdata = "/srv/data" },
    ["pg_ctl.status"] = { running = true },
    ["pg_ctl.may_control"] = true,
    ["standby.follows_primary"] = { ok = true },
    ["standby.shutdown_point"] = { timeline = 1, checkpoint = lsn("0/C000028"), end_lsn = lsn("0/C0000A0"), segment = "00000001000000000000000C" },
    ["archive.set_active"] = { was = false },
    ["standby.position"] = { timeline = 1, lsn = lsn("0/B000000") },
    ["standby.hash_end"] = { sha256 = "abcd" },
    ["runs.certify"] = { path = "/srv/certificate.txt" },
    ["standby.prove_replay"] = { lsn = lsn("0/C0000A0"), how = "its server says so" },
    ["fence.raise"] = { timeline = 1, lsn = lsn("0/C0000A0") },
    ["standby.opened"] = { timeline = 2, lsn = lsn("0/C000110") },
    ["standby.lineage"] = { timeline = 2, lsn = lsn("0/D000110"), system_identifier = "7", history = {} },
    ["standby.forked"] = { parent = 1, lsn = lsn("0/C0000A0") },
    ["archive.wait"] = {},
    ["archive.switch"] = { lsn = lsn("0/D000000") },
    ["standby.follows"] = {},
    ["runbooks.run"] = nested("triggerStandby", no_return("")),
  },

  case { "clients wait", params = { bouncer = "db2" }, sweep = true,
    calls = { "shell.read db2", "shell.run db2", "runbooks.run db1 flushPrimary", "runbooks.run db2 triggerStandby", "shell.run db2" },
    expect = function(run)
      local said = {}
      for _, call in ipairs(run.calls) do
        if call.name == "shell.run" then said[#said + 1] = call.args[2] end
      end
      assert(#said == 2, #said)
      assert(said[1] == "psql -XAtq -h /var/run/postgresql -p 6432 -U pgbouncer pgbouncer -c 'PAUSE'", said[1])
      assert(said[2]:match("'RESUME'$"), said[2])
    end },

  case { "pointed at the new primary", params = { bouncer_point = "/usr/local/bin/point" }, answers = { ["cluster.node"] = { host = "db2.example.com", pgdata = "/srv/data" } }, sweep = true,
    expect = function(run)
      local said = {}
      for _, call in ipairs(run.calls) do
        if call.name == "shell.run" then said[#said + 1] = call.args[2]:match("%S+ %S+$") end
      end
      assert(table.concat(said, "|") == "-c 'PAUSE'|/usr/local/bin/point db2.example.com|-c 'RELOAD'|-c 'RESUME'", table.concat(said, "|"))
    end },

  case { "its console does not answer", answers = { ["shell.read"] = fails "no such file" }, fails = "no such file", hint = "admin_users", never = { "shell.run", "runbooks.run" } },
  case { "it cannot be paused", answers = { ["shell.run"] = each { fails "timed out", {} } }, fails = "timed out", undone = { "pause pgbouncer", "ready" }, never = { "runbooks.run" } },
  case { "the flush fails: clients go on", answers = { ["runbooks.run"] = nested("flushPrimary", fails "did not stop") }, fails = "did not stop", undone = { "flush", "pause pgbouncer", "ready" } },
  case { "it cannot be resumed: the switchover is done all the same", answers = { ["shell.run"] = each { {}, fails "gone" } }, says = { "the run goes on" }, calls = { "relay.try db1" } },
}
