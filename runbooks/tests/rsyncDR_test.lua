return test {
  runbook = "rsyncDR",
  answers = { ["cluster.is_primary"] = false },

  case { "on the standby", sweep = true, calls = { "relay.run db1 {to=dr}" } },
  case { "on the primary", answers = { ["cluster.is_primary"] = true }, never = { "relay.run" }, says = { "db1 is the primary" } },
  case { "while the DR node is the primary", answers = { ["cluster.is_primary"] = each { false, true } }, calls = { "cluster.is_primary db1", "cluster.is_primary dr", "relay.run db1 {to=db2}" } },
  case { "the DR node cannot be asked", answers = { ["cluster.is_primary"] = each { false, fails "no answer" } }, calls = { "relay.run db1 {to=dr}" } },
  case { "on the DR node", vars = { node = "dr" }, never = { "relay.run" }, says = { "dr is the disaster recovery node itself" } },
  case { "without a DR node", vars = { dr = false }, never = { "relay.run" }, says = { "No disaster recovery node is configured" } },
  case { "the DR node lacks a segment", answers = { ["relay.run"] = fails "000000010000000000000007 is missing on dr" }, fails = "is missing on dr" },
}
