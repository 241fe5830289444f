return test {
  runbook = "delayReplay",
  answers = { ["psql.in_recovery"] = true, ["pg_ctl.may_control"] = true, ["cluster.node"] = { delay = "1h" } },

  case { "the whole way", sweep = true, calls = { "pg_ctl.stop db1", "standby.configure db1 {fence=true}", "pg_ctl.start db1" }, says = { "db1 replays 1h after each commit" } },
  case { "no delay any more", answers = { ["cluster.node"] = {} }, says = { "db1 replays at once" } },
  case { "on the primary", answers = { ["psql.in_recovery"] = false }, fails = "db1 is not in recovery", never = { "pg_ctl.stop" } },
  case { "it cannot be configured", answers = { ["standby.configure"] = fails "the disk is full" }, fails = "the disk is full", calls = { "pg_ctl.start db1" } },
}
