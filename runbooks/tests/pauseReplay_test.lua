return test {
  runbook = "pauseReplay",
  answers = { ["psql.in_recovery"] = true, ["psql.exec"] = "SELECT 1", ["psql.value"] = "0/5000000" },

  case { "on a standby", sweep = true, calls = { 'psql.exec db1 "SELECT pg_wal_replay_pause()"' }, says = { "from 0/5000000 on" } },
  case { "on the primary", answers = { ["psql.in_recovery"] = false }, fails = "db1 is not in recovery", never = { "psql.exec" } },
}
