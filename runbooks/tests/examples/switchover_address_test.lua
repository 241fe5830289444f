-- nested answers for the runbook of that name, and "" for the others.
local function nested(name, answer)
  return function(_, called) if called == name then return answer end return "" end
end

return test {
  runbook = "switchover",
  answers = {
    ["shell.read"] = function(_, command) return "2: eth0 inet 192.0.2.10/24" end,
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

  case { "it moves", params = { address = "192.0.2.10/24" }, sweep = true,
    answers = { ["shell.read"] = function(node) return node == "db1" and "2: eth0 inet 192.0.2.10/24" or "" end },
    expect = function(run)
      local said = {}
      for _, call in ipairs(run.calls) do
        if call.name == "shell.run" then said[#said + 1] = call.args[1] .. " " .. call.args[2] end
      end
      assert(table.concat(said, "|") == "db1 sudo -n ip address del 192.0.2.10/24 dev eth0|db2 sudo -n ip address add 192.0.2.10/24 dev eth0|db2 sudo -n arping -c 3 -A -I eth0 192.0.2.10", table.concat(said, "|"))
    end },

  case { "it is there already", params = { address = "192.0.2.10/24" },
    expect = function(run)
      for _, call in ipairs(run.calls) do
        assert(call.name ~= "shell.run" or not call.args[2]:find("address add", 1, true), call.text)
      end
    end },

  case { "the primary has another one", params = { address = "192.0.2.10/24" }, answers = { ["shell.read"] = "" }, fails = "db1 does not have 192.0.2.10/24 on eth0", never = { "runbooks.run" } },
  case { "no address is given", fails = "switchover needs --address", never = { "runbooks.run" } },

  case { "it is put back", params = { address = "192.0.2.10/24" }, fails = "stands at 0/B0", undone = { "take the address away", "flush", "ready" },
    answers = { ["standby.prove_replay"] = fails "stands at 0/B0", ["shell.read"] = each { "2: eth0 inet 192.0.2.10/24", "" } },
    expect = function(run)
      local last
      for _, call in ipairs(run.calls) do
        if call.name == "shell.run" then last = call.args[2] end
      end
      assert(last == "sudo -n ip address add 192.0.2.10/24 dev eth0", last)
    end },

  case { "it does not come", params = { address = "192.0.2.10/24" }, answers = { ["shell.run"] = each { {}, fails "no sudo" } }, says = { "the run goes on" }, calls = { "relay.try db1" } },
}
