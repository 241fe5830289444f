local given = { dir = "/restored", time = "2024-05-01T12:00:00Z" }

return test {
  runbook = "restoreTo",
  answers = {
    ["scratch.free"] = true,
    ["scratch.reach"] = { backup = "20240501T110000" },
    ["scratch.make"] = { dir = "/restored", target = "2024-05-01T12:00:00Z" },
    ["scratch.start"] = { text = "replayed up to 0/5000000", connection = "psql -h /restored/run -p 5433" },
  },

  case { "the whole way", params = given, sweep = true,
    calls = { "scratch.reach db1 {time=2024-05-01T12:00:00Z}",
      "scratch.make db1 {dir=/restored, kind=restore, time=2024-05-01T12:00:00Z}", "scratch.start db1", "scratch.stay db1 {dir=/restored}" },
    says = { "Recovered to 2024-05-01T12:00:00Z: replayed up to 0/5000000", "psql -h /restored/run -p 5433" } },

  case { "the archive does not reach it", params = given, answers = { ["scratch.reach"] = fails "the archive does not reach it" }, fails = "does not reach it", never = { "scratch.make" } },
  case { "the recovery fails", params = given, answers = { ["scratch.start"] = fails "it ended" }, fails = "it ended", calls = { "scratch.remove db1 {dir=/restored}" }, never = { "scratch.stay" } },
}
