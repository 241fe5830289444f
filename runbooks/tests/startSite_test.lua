-- roles answers standby.state by the node.
local function roles(of)
  return function(node) return { role = of[node] } end
end

return test {
  runbook = "startSite",
  answers = {
    ["cluster.others"] = { "db2", "dr" },
    ["standby.state"] = roles { db1 = "stopped primary", db2 = "stopped standby", dr = "stopped standby" },
    ["pg_ctl.control"] = { timeline = 1 },
    ["pg_ctl.may_control"] = true,
    ["pg_ctl.status"] = { running = false },
    ["standby.opened"] = { timeline = 1, lsn = lsn("0/C000110") },
    ["archive.switch"] = { lsn = lsn("0/D000000") },
    ["standby.follows"] = {},
  },

  case { "in this order", sweep = true, calls = { "pg_ctl.start db2", "pg_ctl.start dr", "pg_ctl.start db1", "standby.opened db1", "archive.switch db1", "standby.follows db2 {lsn=0/D000000, timeout=1h0m0s}" },
    says = { "db1 accepts writes on timeline 1", "db2 follows db1" } },
  case { "what runs already is left alone", answers = { ["pg_ctl.status"] = { running = true } }, never = { "pg_ctl.start" }, calls = { "standby.follows db2" } },

  case { "two would be the primary", answers = { ["standby.state"] = roles { db1 = "stopped primary", db2 = "stopped primary", dr = "stopped standby" } }, fails = "2 nodes would be a primary: db1, db2", hint = "warmrun rejoin", never = { "pg_ctl.start" } },
  case { "none would be the primary", answers = { ["standby.state"] = roles { db1 = "stopped standby", db2 = "stopped standby", dr = "stopped standby" } }, fails = "0 nodes would be a primary: none", never = { "pg_ctl.start" } },
  case { "a standby was promoted beside it", answers = { ["pg_ctl.control"] = function(node) return { timeline = node == "db2" and 2 or 1 } end }, fails = "db2 is on a newer timeline than db1", never = { "pg_ctl.start" } },
  case { "a server that may not be started", answers = { ["pg_ctl.may_control"] = false }, fails = "can be started", never = { "pg_ctl.start" } },

  case { "a standby does not start", answers = { ["pg_ctl.start"] = fails "no server came up" }, fails = "no server came up", never = { "pg_ctl.start db1" } },
  case { "the primary does not start", answers = { ["pg_ctl.start"] = each { {}, {}, fails "no server came up" } }, fails = "no server came up", never = { "archive.switch" } },
  case { "the primary does not open", answers = { ["standby.opened"] = fails "in recovery" }, fails = "in recovery", never = { "archive.switch" } },
  case { "a standby does not follow", answers = { ["standby.follows"] = fails "not within 1h" }, fails = "not within 1h" },
}
