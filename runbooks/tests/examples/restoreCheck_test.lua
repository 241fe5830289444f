return test {
  runbook = "restoreCheck",
  answers = {
    ["cluster.pair"] = { primary = "db2", standby = "db1" },
    ["standby.follows_primary"] = { ok = true },
    ["archive.switch"] = { lsn = lsn("0/5000000") },
    ["standby.follows"] = {},
    ["archive.verify"] = { segments = 5, records = 1234, findings = 0 },
  },

  case { "all is well", sweep = true, calls = { "archive.switch db2", "standby.follows db1 {lsn=0/5000000, timeout=5m0s}", "archive.verify db1" },
    says = { "db1 has replayed what db2 wrote up to 0/5000000", "db1: 5 segments and 1234 records are whole" } },

  case { "it does not follow", answers = { ["standby.follows_primary"] = { ok = false, reason = "db1 has diverged" } }, fails = "db1 has diverged", never = { "archive.switch" } },
  case { "WAL does not arrive", params = { wait = "10s" }, answers = { ["standby.follows"] = fails "not within 10s" }, fails = "not within 10s", never = { "archive.verify" } },
  case { "the archive is damaged", answers = { ["archive.verify"] = { segments = 5, findings = 2, first = "000000010000000000000003: missing" } },
    fails = "the archive of db1 has 2 findings, the first: 000000010000000000000003: missing", hint = "warmrun wal verify on db1" },
}
