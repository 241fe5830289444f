return test {
  runbook = "peek",
  answers = {
    ["scratch.reach"] = { backup = "20240501T110000" },
    ["scratch.make"] = { dir = "/scratch/peek-1", backup = "20240501T110000" },
    ["scratch.start"] = { text = "replayed up to 0/5000000", connection = "psql -h /scratch/peek-1/run -p 5433" },
    ["scratch.query"] = { text = "1|2\n", rows = 1 },
    ["scratch.list"] = { { id = "peek-1", dir = "/scratch/peek-1", target = "2024-05-01T12:00:00Z", running = true, connection = "psql -h /run" } },
  },

  case { "left open", params = { before = "2024-05-01T12:00:00Z" }, sweep = true,
    calls = { "scratch.reach db1 {exclusive=true, time=2024-05-01T12:00:00Z}", "scratch.sweep db1 {kind=peek}",
      "scratch.make db1 {exclusive=true, kind=peek, shared_buffers=128MB, time=2024-05-01T12:00:00Z}", "scratch.start db1", "scratch.stay db1 {dir=/scratch/peek-1}" },
    never = { "scratch.remove" }, says = { "Look at it with: psql -h /scratch/peek-1/run -p 5433" } },

  case { "a query", params = { before = "2024-05-01T12:00:00Z", query = "SELECT 1, 2" }, sweep = true,
    calls = { "scratch.query db1", "scratch.remove db1 {dir=/scratch/peek-1}" }, never = { "scratch.stay" }, says = { "1|2" } },

  case { "list", params = { list = true }, sweep = true, never = { "scratch.make", "scratch.remove" }, says = { "peek-1  as of 2024-05-01T12:00:00Z  psql -h /run" } },
  case { "close", params = { close = true }, sweep = true, calls = { "scratch.remove db1 {dir=/scratch/peek-1}" }, never = { "scratch.make" }, says = { "Closed peek-1" } },
  case { "nothing asked for", fails = "give --before TIME", never = { "scratch.make" } },
  case { "too much asked for", params = { list = true, close = true }, fails = "give --before TIME", never = { "scratch.remove" } },
  case { "the archive does not reach it", params = { before = "2024-05-01T12:00:00Z" }, answers = { ["scratch.reach"] = fails "does not reach it" }, fails = "does not reach it", never = { "scratch.make" } },
}
