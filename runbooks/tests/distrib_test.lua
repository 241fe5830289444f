return test {
  runbook = "distrib",
  answers = { ["cluster.others"] = { "db2", "dr" } },

  case { "all of them", sweep = true, calls = { "cluster.install_here db1", "cluster.distribute db2", "cluster.distribute dr" } },

  case { "a node alone", answers = { ["cluster.others"] = {} }, fails = "this site names no other node", never = { "cluster.install_here" } },
}
