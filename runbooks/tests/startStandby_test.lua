return test {
  runbook = "startStandby",
  answers = {
    ["standby.state"] = { role = "stopped standby" },
    ["cluster.superseding"] = { node = "db2" },
    ["pg_ctl.may_control"] = true,
    ["archive.switch"] = { lsn = lsn("0/D000000"), timeline = 2 },
    ["standby.follows"] = {},
  },

  case { "a stopped standby", sweep = true, calls = { "pg_ctl.start db1", "archive.switch db2", "standby.follows db1 {lsn=0/D000000, timeout=1h0m0s}" }, says = { "db1 follows db2 on timeline 2" } },
  case { "one that runs already", answers = { ["standby.state"] = { role = "standby" } }, calls = { "pg_ctl.start db1", "standby.follows db1" } },
  case { "a stopped primary", answers = { ["standby.state"] = { role = "stopped primary" } }, fails = "db1 is a stopped primary", hint = "warmrun rejoin", never = { "pg_ctl.start" } },
  case { "no copy", answers = { ["standby.state"] = { role = "empty" } }, fails = "db1 has no copy to start from", hint = "copyToStandby --start", never = { "pg_ctl.start" } },
  case { "no primary", answers = { ["cluster.superseding"] = fails "no other node that answers is a primary" }, fails = "no other node", never = { "pg_ctl.start" } },
  case { "it may not be started", answers = { ["pg_ctl.may_control"] = false }, fails = "can be started", never = { "pg_ctl.start" } },
  case { "it does not start", answers = { ["pg_ctl.start"] = fails "no server came up" }, fails = "no server came up", never = { "archive.switch" } },
  case { "it does not follow", answers = { ["standby.follows"] = fails "not within 1h" }, fails = "not within 1h", hint = "warmrun status" },
}
