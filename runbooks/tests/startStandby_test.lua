-- others are the nodes without one.
local function others(node)
  local names = {}
  for _, name in ipairs { "db1", "db2", "dr" } do
    if name ~= node then table.insert(names, name) end
  end
  return names
end

return test {
  runbook = "startStandby",
  answers = {
    ["standby.state"] = { role = "stopped standby" },
    ["cluster.superseding"] = { node = "db2" },
    ["pg_ctl.may_control"] = true,
    ["archive.switch"] = { lsn = lsn("0/D000000"), segment = "00000002000000000000000C", timeline = 2 },
    ["archive.wait"] = {},
    ["cluster.others"] = others,
    ["standby.follows"] = {},
  },

  case { "a stopped standby", sweep = true, calls = { "pg_ctl.start db1", "archive.switch db2", "standby.follows db1 {lsn=0/D000000, timeout=1h0m0s}" }, says = { "db1 follows db2 on timeline 2" }, never = { "relay.run" } },
  case { "the DR node has its WAL relayed", vars = { node = "dr" }, sweep = true,
    calls = { "archive.switch db2", "archive.wait db1 {segment=00000002000000000000000C, timeout=1m0s}", "relay.run db1 {to=dr}", "standby.follows dr" } },
  case { "behind the first of the pair, while the DR node is the primary", vars = { node = "db2" }, answers = { ["cluster.superseding"] = { node = "dr" } },
    calls = { "archive.switch dr", "archive.wait db1 {segment=00000002000000000000000C, timeout=1m0s}", "relay.run db1 {to=db2}", "standby.follows db2" } },
  case { "the first of the pair, while the DR node is the primary", answers = { ["cluster.superseding"] = { node = "dr" } }, calls = { "archive.switch dr", "standby.follows db1" }, never = { "relay.run" } },
  case { "the DR node's standby is down", vars = { node = "dr" }, answers = { ["relay.run"] = fails "db1 is down" }, calls = { "standby.follows dr" }, says = { "db1 has not relayed all: ", "dr follows db2" } },
  case { "the DR node's standby lags", vars = { node = "dr" }, answers = { ["archive.wait"] = fails "did not arrive" }, calls = { "relay.run db1 {to=dr}", "standby.follows dr" } },
  case { "one that runs already", answers = { ["standby.state"] = { role = "standby" } }, calls = { "pg_ctl.start db1", "standby.follows db1" } },
  case { "a stopped primary", answers = { ["standby.state"] = { role = "stopped primary" } }, fails = "db1 is a stopped primary", hint = "warmrun rejoin", never = { "pg_ctl.start" } },
  case { "no copy", answers = { ["standby.state"] = { role = "empty" } }, fails = "db1 has no copy to start from", hint = "copyToStandby --start", never = { "pg_ctl.start" } },
  case { "no primary", answers = { ["cluster.superseding"] = fails "no other node that answers is a primary" }, fails = "no other node", never = { "pg_ctl.start" } },
  case { "it may not be started", answers = { ["pg_ctl.may_control"] = false }, fails = "can be started", never = { "pg_ctl.start" } },
  case { "it does not start", answers = { ["pg_ctl.start"] = fails "no server came up" }, fails = "no server came up", never = { "archive.switch" } },
  case { "it does not follow", answers = { ["standby.follows"] = fails "not within 1h" }, fails = "not within 1h", hint = "warmrun status" },
}
