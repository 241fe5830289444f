return test {
  runbook = "stopSite",
  answers = {
    ["cluster.pair"] = { primary = "db1", standby = "db2" },
    ["pg_ctl.status"] = { running = true },
    ["pg_ctl.may_control"] = true,
    ["standby.follows_primary"] = { ok = true },
    ["standby.position"] = { timeline = 1, lsn = lsn("0/B000000") },
    ["standby.flush"] = { end_lsn = lsn("0/C0000A0"), timeline = 1 },
    ["standby.shutdown_point"] = { timeline = 1, checkpoint = lsn("0/C000028"), end_lsn = lsn("0/C0000A0") },
    ["standby.prove_replay"] = { lsn = lsn("0/C0000A0"), how = "its server says so" },
  },

  case { "in this order", params = { drain = "2s" }, sweep = true,
    calls = { "psql.exec db1 CHECKPOINT", "pg_ctl.stop db1 {drain=2s}", "standby.flush db1 {to=db2}", "standby.prove_replay db2", "pg_ctl.stop db2", "relay.try db2 {to=dr}", "pg_ctl.stop dr" },
    says = { "db2 has replayed everything up to 0/C0000A0" }, never = { "standby.configure" } },
  case { "without a DR node", vars = { dr = false }, calls = { "pg_ctl.stop db2" }, never = { "relay.try" } },

  case { "no pair", answers = { ["cluster.pair"] = fails "no node of the pair is a running primary" }, fails = "no node of the pair", never = { "pg_ctl.stop" } },
  case { "the standby is down", answers = { ["pg_ctl.status"] = { running = false } }, fails = "the standby db2 is not running", never = { "pg_ctl.stop" } },
  case { "the standby has diverged", answers = { ["standby.follows_primary"] = { ok = false, reason = "db2 has diverged" } }, fails = "db2 has diverged", never = { "pg_ctl.stop" } },
  case { "a server that may not be stopped", answers = { ["pg_ctl.may_control"] = false }, fails = "can be stopped and started again", never = { "pg_ctl.stop" } },

  case { "the primary does not stop", answers = { ["pg_ctl.stop"] = fails "did not stop" }, fails = "did not stop", undone = { "stop the primary" }, calls = { "pg_ctl.start db1" }, never = { "standby.flush" } },
  case { "the last WAL does not arrive", answers = { ["standby.flush"] = fails "the link was cut" }, fails = "the link was cut", undone = { "stop the primary" }, calls = { "pg_ctl.start db1" }, never = { "pg_ctl.stop db2" } },
  case { "it is not replayed", answers = { ["standby.prove_replay"] = fails "gave up waiting" }, fails = "gave up waiting", undone = { "stop the primary" }, never = { "pg_ctl.stop db2" } },
  case { "the standby does not stop", answers = { ["pg_ctl.stop"] = each { {}, fails "did not stop" } }, fails = "did not stop", undone = { "stop the standby", "stop the primary" }, calls = { "pg_ctl.start db2", "pg_ctl.start db1" } },
  case { "the DR node does not stop", answers = { ["pg_ctl.stop"] = each { {}, {}, fails "did not stop" } }, fails = "did not stop", undone = { "stop the DR node", "stop the standby", "stop the primary" },
    calls = { "pg_ctl.start dr", "pg_ctl.start db2", "pg_ctl.start db1" } },
}
