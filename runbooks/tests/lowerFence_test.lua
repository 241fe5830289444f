return test {
  runbook = "lowerFence",
  answers = {
    ["fence.left"] = { cuts = { { node = "db2", lsn = lsn("0/40") } } },
    ["fence.take_back"] = { cuts = { { node = "db2", lsn = lsn("0/40") } } },
  },

  case { "a fence that was left", sweep = true, calls = { "fence.left db1", "fence.take_back db1" }, plan = { "take the fences on the timeline of db1 out of every archive" } },

  case { "no fence", answers = { ["fence.take_back"] = { cuts = {} } }, says = { "No archive that could be asked is fenced against db1" } },

  case { "somebody was promoted", answers = { ["fence.left"] = fails "db2 was promoted" }, fails = "db2 was promoted", never = { "fence.take_back" } },

  case { "a node that cannot be asked", params = { accept_split = true }, calls = { "fence.left db1 {accept_split=true}", "fence.take_back db1 {accept_split=true}" } },
}
