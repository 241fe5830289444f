return test {
  runbook = "startPrimary",
  answers = {
    ["pg_ctl.may_control"] = true,
    ["cluster.is_primary"] = false,
    ["pg_ctl.status"] = { running = true, ready = "ready" },
    ["archive.active"] = true,
    ["fence.liftable"] = false,
  },

  case { "after a flushPrimary", sweep = true, calls = { "standby.bring_back db1 {partner=db2}" }, says = { "db1 accepts writes again" } },

  case { "a fence was left", sweep = true, answers = { ["fence.liftable"] = true },
    calls = { "fence.lift db1", "standby.bring_back db1 {partner=db2}" }, says = { "db1 accepts writes again" } },

  case { "it runs already", sweep = true, answers = { ["cluster.is_primary"] = true }, never = { "standby.bring_back" }, says = { "nothing was done" } },

  case { "it runs already, and its WAL is dropped", answers = { ["cluster.is_primary"] = true, ["archive.active"] = false },
    says = { "Archiving is off on db1", "warmrun copyToStandby --start on db1" } },

  case { "it went down by itself, and its WAL was dropped", answers = { ["archive.active"] = false },
    calls = { "standby.bring_back db1 {partner=db2}" }, says = { "db1 accepts writes again", "Archiving is off on db1" } },

  case { "the server may not be started", answers = { ["pg_ctl.may_control"] = fails { "sudo is needed", hint = "sudoers" } },
    fails = "sudo is needed", hint = "sudoers", never = { "fence.lift" } },

  case { "the standby was promoted", answers = { ["standby.bring_back"] = fails { "db2 was promoted", begun = false } },
    fails = "db2 was promoted" },
}
