return test {
  runbook = "switchback",
  answers = {
    ["cluster.primary_and_other"] = { primary = "db2", other = "db1", follows = false, why = "it has diverged" },
    ["pg_ctl.may_control"] = true,
  },

  case { "after a failover", params = { erase = true }, sweep = true,
    calls = { "runbooks.run db1 rejoin", "runbooks.run db1 switchover {drain=60s}" },
    says = { "db1 becomes a standby of db2 first" } },

  case { "it follows already", answers = { ["cluster.primary_and_other"] = { primary = "db2", other = "db1", follows = true } },
    calls = { "runbooks.run db1 switchover" }, never = { "runbooks.run db1 rejoin" }, says = { "nothing to rebuild" } },

  case { "nothing is given up unasked", fails = "db1 does not follow db2 and would have to be rebuilt: it has diverged", hint = "--erase", never = { "runbooks.run" } },

  case { "rebuild only", params = { erase = true, rebuild_only = true }, calls = { "runbooks.run db1 rejoin" }, never = { "runbooks.run db1 switchover" } },

  case { "a server that may not be stopped", params = { erase = true }, answers = { ["pg_ctl.may_control"] = false },
    fails = "can be stopped and started again", never = { "runbooks.run" } },

  case { "two primaries", answers = { ["cluster.primary_and_other"] = fails "the pair has 2 running primaries" }, fails = "2 running primaries", never = { "runbooks.run" } },

  case { "it cannot rejoin", params = { erase = true },
    answers = { ["runbooks.run"] = function(_, name) if name == "rejoin" then return fails "the disk is full" end return "" end },
    fails = "the disk is full", never = { "runbooks.run db1 switchover" } },
}
