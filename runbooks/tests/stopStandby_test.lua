return test {
  runbook = "stopStandby",
  answers = { ["standby.state"] = { role = "standby" }, ["pg_ctl.may_control"] = true },

  case { "a running standby", sweep = true, calls = { "pg_ctl.stop db1" }, says = { "its archive still takes what is shipped" } },
  case { "the primary", answers = { ["standby.state"] = { role = "primary" } }, fails = "db1 is a primary", never = { "pg_ctl.stop" } },
  case { "one that is stopped", answers = { ["standby.state"] = { role = "stopped standby" } }, fails = "db1 is a stopped standby", never = { "pg_ctl.stop" } },
  case { "it may not be stopped", answers = { ["pg_ctl.may_control"] = false }, fails = "can be stopped", never = { "pg_ctl.stop" } },
  case { "it does not stop", answers = { ["pg_ctl.stop"] = fails "did not stop" }, fails = "did not stop", undone = { "stop" }, calls = { "pg_ctl.start db1" } },
}
