return test {
  runbook = "distrib",
  answers = { ["cluster.others"] = { "db2", "dr" } },

  case { "all of them", sweep = true, calls = { "cluster.install_here db1", "cluster.distribute db2", "cluster.distribute dr" } },

  -- One that is down keeps the others from nothing.
  case { "a node is down", answers = { ["cluster.distribute"] = each { fails { "no answer", begun = false }, {} } }, fails = "on db2: no answer",
    calls = { "cluster.distribute db2", "cluster.distribute dr" }, undone = {} },

  case { "a node alone", answers = { ["cluster.others"] = {} }, fails = "this site names no other node", never = { "cluster.install_here" } },
}
