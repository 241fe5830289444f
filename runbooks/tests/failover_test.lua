return test {
  runbook = "failover",
  answers = {
    ["pg_ctl.status"] = { running = true },
    ["pg_ctl.may_control"] = true,
    ["rivals.check"] = { ok = true },
    ["rivals.fence"] = { fenced = { "db2" }, off = {} },
    ["rivals.salvage"] = { complete = true },
    ["rivals.loss"] = { exact = true, sentence = "nothing is lost" },
    ["fence.enclose"] = { timeline = 1, lsn = lsn("0/C0000A0") },
    ["standby.replay_archive"] = {},
    ["archive.outlook"] = { lines = { "db2 waits for its WAL" } },
  },

  case { "the primary's host is alive", sweep = true,
    calls = { "standby.warn db1", "rivals.fence db1", "rivals.salvage db1", "rivals.collect db1", "rivals.loss db1", "fence.enclose db1 {by=failover}",
      "standby.replay_archive db1", "rivals.check db1", "runbooks.run db1 triggerStandby {archiving=true, fast=false, handover=true}" },
    says = { "nothing is lost", "warmrun rejoin on it", "db2 waits for its WAL" },
    expect = function(run) assert(run.asked[1] == "Promote db1?", "it did not ask") end },

  case { "its host is gone, and the site's hook has switched it off", answers = { ["rivals.fence"] = { fenced = {}, off = { "db2" } } },
    calls = { "rivals.check db1 {hook=true}", "rivals.fence db1", "rivals.check db1", "runbooks.run db1 triggerStandby" } },
  case { "its host is gone, and the site's hook fails", answers = { ["rivals.fence"] = fails { "the site's fencing hook does not say that db2 is off", begun = false } },
    fails = "the site's fencing hook does not say", never = { "rivals.salvage", "fence.enclose" } },

  case { "on the DR node", vars = { node = "dr", partner = "db1" }, says = { "dr is the primary now. When db1 is back" } },

  case { "a standby that is stopped", answers = { ["pg_ctl.status"] = { running = false } }, sweep = true, calls = { "pg_ctl.start db1", "fence.enclose db1" } },
  case { "fast", params = { fast = true }, never = { "standby.replay_archive" }, calls = { "runbooks.run db1 triggerStandby" } },

  case { "no standby", answers = { ["standby.promotable"] = fails "db1 is a primary" }, fails = "db1 is a primary", never = { "rivals.fence" } },
  case { "it cannot be started", answers = { ["pg_ctl.status"] = { running = false }, ["pg_ctl.may_control"] = false }, fails = "its server runs, or can be started", never = { "rivals.fence" } },
  case { "another node accepts writes", answers = { ["rivals.check"] = fails "db2 is running and accepts writes" }, fails = "db2 is running", never = { "rivals.fence" } },

  case { "the operator says no", agree = false, fails = "the operator said no", hint = "nobody was promoted; run failover again to go on", never = { "fence.enclose", "runbooks.run" } },
  case { "the loss cannot be told", answers = { ["rivals.loss"] = fails "unreadable" }, fails = "unreadable", never = { "runbooks.run" } },
  case { "the fence cannot be raised", answers = { ["fence.enclose"] = fails "no archive took it" }, fails = "no archive", undone = { "fence" }, never = { "fence.lower", "runbooks.run" } },
  case { "the archive is not replayed", answers = { ["standby.replay_archive"] = fails "stuck at 0/B0" }, fails = "stuck", undone = { "fence" },
    calls = { "fence.lower db1 {by=failover, lsn=0/C0000A0, timeline=1}" }, never = { "runbooks.run" } },
  case { "another node comes up while WAL is fetched", answers = { ["rivals.check"] = each { {}, fails "db2 accepts writes" } }, fails = "db2 accepts writes", undone = { "fence" }, passed = false,
    never = { "runbooks.run" } },
  case { "refused by triggerStandby", answers = { ["runbooks.run"] = fails { "db2 came back", begun = false } }, fails = "db2 came back", undone = { "fence" }, passed = false },
  case { "lost in the promotion", answers = { ["runbooks.run"] = no_return(fails "not within 1h") }, fails = "not within 1h", passed = true, never = { "fence.lower" } },
}
