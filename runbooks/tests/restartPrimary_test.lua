return test {
  runbook = "restartPrimary",
  answers = {
    ["psql.in_recovery"] = false,
    ["pg_ctl.may_control"] = true,
    ["standby.opened"] = { timeline = 1, lsn = lsn("0/C000110") },
  },

  case { "the whole way", params = { drain = "2s" }, sweep = true, calls = { "psql.exec db1 CHECKPOINT", "pg_ctl.stop db1 {drain=2s}", "pg_ctl.start db1", "standby.opened db1" },
    says = { "db1 accepts writes on timeline 1" }, plan = { "the outage begins", "the outage ends" } },
  case { "a standby", answers = { ["psql.in_recovery"] = true }, fails = "db1 is in recovery", never = { "pg_ctl.stop" } },
  case { "another was promoted", answers = { ["rivals.none_promoted"] = fails "db2 was promoted" }, fails = "db2 was promoted", never = { "pg_ctl.stop" } },
  case { "it may not be stopped", answers = { ["pg_ctl.may_control"] = false }, fails = "can be stopped and started again", never = { "pg_ctl.stop" } },
  case { "the checkpoint fails", answers = { ["psql.exec"] = fails "no space left" }, fails = "no space left", undone = {}, never = { "pg_ctl.stop" } },
  case { "it does not stop", answers = { ["pg_ctl.stop"] = fails "did not stop" }, fails = "did not stop", undone = { "stop" }, calls = { "pg_ctl.start db1" } },
  case { "it does not start", answers = { ["pg_ctl.start"] = each { fails "wrong setting", {} } }, fails = "wrong setting", hint = "warmrun failover", undone = { "stop" } },
  case { "it does not open", answers = { ["standby.opened"] = fails "in recovery" }, fails = "in recovery" },
}
