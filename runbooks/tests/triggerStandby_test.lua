return test {
  runbook = "triggerStandby",
  answers = {
    ["pg_ctl.status"] = { running = true },
    ["pg_ctl.may_control"] = true,
    ["cluster.is_primary"] = false,
    ["rivals.check"] = { ok = true },
    ["rivals.fence"] = { fenced = { "db2" }, off = {} },
    ["archive.set_active"] = { was = false },
    ["standby.recovery_end"] = { timeline = 1, lsn = lsn("0/C0000A0"), cut = lsn("0/C0000A0") },
    ["standby.replayed"] = { timeline = 1, lsn = lsn("0/C000000") },
    ["fence.raise"] = { timeline = 1, lsn = lsn("0/C0000A0") },
    ["standby.trigger"] = { path = "/srv/trigger" },
    ["standby.opened"] = { lsn = lsn("0/C000110"), timeline = 2 },
  },

  case { "a standby that runs", params = { archiving = true }, sweep = true,
    calls = { "standby.warn db1", "rivals.fence db1", "archive.set_active db1 {active=true}", "standby.recovery_end db1", "fence.raise db1 {by=triggerStandby, lsn=0/C0000A0, timeline=1}",
      "standby.trigger db1", "standby.promote db1 {timeout=1h0m0s}", "standby.clear_trigger db1", "standby.opened db1" },
    never = { "pg_ctl.start" }, says = { "db1 accepts writes on timeline 2 at 0/C000110" },
    plan = { "-- no return from here --", "the outage ends", "clients can write again at step verify; since when they cannot is not known here",
      "trigger: db1 has replayed up to 0/C000000, and 160 bytes of its archive are left to replay" } },

  case { "a standby that is stopped", answers = { ["pg_ctl.status"] = { running = false } }, sweep = true, calls = { "pg_ctl.may_control db1", "pg_ctl.start db1", "standby.promote db1" },
    says = { "Archiving is off on db1", "warmrun triggerStandby --archiving" } },

  case { "it is open already when an interrupted run goes on", answers = { ["cluster.is_primary"] = true }, never = { "standby.promote" }, calls = { "standby.clear_trigger db1" } },

  case { "fast", params = { fast = true }, calls = { "rivals.check db1 {fast=true, hook=true, nothing_left=true}", "standby.recovery_end db1 {fast=true}", "standby.trigger db1 {fast=true}" } },

  case { "part of a switchover", params = { archiving = true, handover = true }, answers = { ["archive.active"] = true }, calls = { "rivals.check db1 {checked=true, hook=true, nothing_left=true}", "standby.trigger db1" },
    never = { "standby.warn", "rivals.fence", "fence.raise", "archive.set_active" } },

  -- Nothing was changed.
  case { "no standby", answers = { ["standby.promotable"] = fails "db1 is a primary" }, fails = "db1 is a primary", never = { "rivals.fence" } },
  case { "it cannot be started", answers = { ["pg_ctl.status"] = { running = false }, ["pg_ctl.may_control"] = false }, fails = "its server runs, or can be started", never = { "rivals.fence" } },
  case { "another node accepts writes", answers = { ["rivals.check"] = fails { "db2 is running and accepts writes", hint = "--accept-split" } },
    fails = "db2 is running", hint = "--accept-split", never = { "rivals.fence" } },

  -- Before the trigger: all is taken back, and what stays is named.
  case { "the old primary cannot be fenced", answers = { ["rivals.fence"] = fails "db2: no space left" }, fails = "no space left", never = { "standby.trigger" } },
  case { "the fence cannot be raised", answers = { ["fence.raise"] = fails "no archive took it" }, fails = "no archive", passed = false, undone = { "cut", "archiving" },
    calls = { "archive.set_active db1" }, never = { "standby.trigger" } },
  case { "archiving comes back as it was", params = { archiving = true }, answers = { ["archive.set_active"] = { was = true }, ["standby.recovery_end"] = fails "no" }, fails = "no",
    undone = { "cut", "archiving" }, calls = { "archive.set_active db1 {active=true}", "archive.set_active db1 {active=true}" } },
  case { "a fence that was raised is lowered", answers = { ["standby.trigger"] = fails "no space left" }, fails = "no space left", passed = true, never = { "fence.lower" } },

  -- After it: only forward.
  case { "the promotion is not confirmed", answers = { ["standby.promote"] = fails "not within 1h" }, fails = "not within 1h", passed = true, never = { "fence.lower", "archive.set_active db1 {active=false}" } },
  case { "it does not open", answers = { ["standby.opened"] = fails "in recovery" }, fails = "in recovery", passed = true, never = { "fence.lower" } },
  case { "it opens at the third look", answers = { ["standby.opened"] = each { fails "in recovery", fails "in recovery", { lsn = lsn("0/C000110"), timeline = 2 } } } },
}
