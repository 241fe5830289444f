return test {
  runbook = "drill",
  answers = {
    ["scratch.reach"] = { backup = "20240501T110000" },
    ["scratch.make"] = { dir = "/scratch/drill-1", backup = "20240501T110000" },
    ["scratch.start"] = { text = "replayed up to 0/5000000", seconds = 41.5, lsn = lsn("0/5000000") },
    ["scratch.examine"] = { failures = {}, queries = 1 },
  },

  case { "all is well", sweep = true,
    calls = { "drill.note db1", "scratch.sweep db1 {kind=drill}", "scratch.make db1", "scratch.start db1", "scratch.examine db1", "scratch.remove db1 {dir=/scratch/drill-1}",
      "drill.note db1 {backup=20240501T110000, lsn=0/5000000, ok=true, seconds=41.5}" },
    says = { "The recovery works, and takes 41.5 s" } },

  case { "a query is wrong: it is removed and noted all the same", answers = { ["scratch.examine"] = { failures = { "rows.sql: got 1, want 2" } } },
    fails = "the first: rows.sql: got 1, want 2", calls = { "scratch.remove db1", "drill.note db1" } },

  case { "the recovery fails", answers = { ["scratch.start"] = fails "it ended" }, fails = "it ended",
    calls = { "scratch.sweep db1 {kind=drill}", "drill.note db1" } },

  case { "no base copy", answers = { ["scratch.reach"] = fails "there is no base copy" }, fails = "there is no base copy", never = { "scratch.make", "drill.note" } },
}
