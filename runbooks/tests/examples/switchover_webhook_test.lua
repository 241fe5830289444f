-- nested answers for the runbook of that name, and "" for the others.
local function nested(name, answer)
  return function(_, called) if called == name then return answer end return "" end
end

return test {
  runbook = "switchover",
  answers = {
    ["http.post"] = { status = 200 },
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

  case { "it is told", sweep = true,
    expect = function(run)
      local last = run.calls[#run.calls]
      assert(last.name == "http.post" and tostring(last.args[1]) == "***" and last.args[2].json.text == "switchover on db1: done", last.text)
      assert(not run.output:find("webhook.url", 1, true), run.output)
    end },

  case { "a failure is told with its cause", answers = { ["runbooks.run"] = nested("flushPrimary", fails "did not stop") }, fails = "did not stop",
    expect = function(run)
      local last = run.calls[#run.calls]
      assert(last.args[2].json.text == "switchover on db1: failed, step flush: did not stop", last.text)
    end },

  case { "nobody listens: the switchover is done all the same", answers = { ["http.post"] = fails "connection refused" }, calls = { "relay.try db1", "http.post" } },
  case { "nothing was begun, nothing is told", answers = { ["cluster.pair"] = fails "two primaries" }, fails = "two primaries", never = { "http.post" } },
}
