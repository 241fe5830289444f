return test {
  runbook = "configStandby",
  answers = { ["standby.prepare"] = { archive = "/srv/archive" } },

  case { "an empty node", sweep = true,
    calls = { "standby.preparable db1", "standby.prepare db1" },
    says = { "shipped archives will appear in /srv/archive" },
    plan = { "make data directory and archive on db1" } },

  case { "a former primary is refused", answers = { ["standby.preparable"] = fails { "db1 was a primary", hint = "--erase" } },
    fails = "db1 was a primary", hint = "--erase", never = { "standby.prepare" } },

  case { "a former primary that may be erased", params = { erase = true },
    calls = { "standby.preparable db1 {erase=true}", "standby.prepare db1 {erase=true}" } },
}
