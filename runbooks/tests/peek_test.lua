return test {
  runbook = "peek",
  answers = {
    ["scratch.reach"] = { backup = "20240501T110000" },
    ["scratch.make"] = { id = "peek-1", dir = "/scratch/peek-1", backup = "20240501T110000" },
    ["scratch.start"] = { text = "replayed up to 0/5000000", connection = "psql -h /scratch/peek-1/run -p 5433" },
    ["scratch.query"] = { text = "1|2\n", rows = 1 },
    ["scratch.has_psql"] = true,
    ["scratch.list"] = {
      { id = "peek-1", dir = "/scratch/peek-1", target = "2024-05-01T12:00:00Z", running = true, connection = "psql -h /run" },
      { id = "peek-2", dir = "/scratch/peek-2", target = "2024-05-01T13:00:00Z", running = false, connection = "psql -h /run2" },
    },
  },

  case { "left open", params = { before = "2024-05-01T12:00:00Z" }, sweep = true,
    calls = { "scratch.reach db1 {exclusive=true, time=2024-05-01T12:00:00Z}", "scratch.sweep db1 {kind=peek}",
      "scratch.make db1 {exclusive=true, kind=peek, shared_buffers=128MB, time=2024-05-01T12:00:00Z}", "scratch.start db1", "scratch.stay db1 {dir=/scratch/peek-1}" },
    never = { "scratch.remove" }, says = { "Look at it with: psql -h /scratch/peek-1/run -p 5433", "Close it with: warmrun peek close peek-1" } },

  case { "a query", params = { before = "2024-05-01T12:00:00Z", query = "SELECT 1, 2" }, sweep = true,
    calls = { "scratch.query db1", "scratch.remove db1 {dir=/scratch/peek-1}" }, never = { "scratch.stay" }, says = { "1|2" } },

  case { "psql", params = { before = "2024-05-01T12:00:00Z", psql = true, database = "app" }, sweep = true,
    calls = { "scratch.psql db1 {database=app, dir=/scratch/peek-1}", "scratch.remove db1 {dir=/scratch/peek-1}" }, never = { "scratch.stay", "scratch.query" }, says = { "Closed peek-1" } },
  case { "psql fails", params = { before = "2024-05-01T12:00:00Z", psql = true }, answers = { ["scratch.psql"] = fails "psql ended with: exit status 3" }, fails = "exit status 3",
    undone = { "open" }, calls = { "scratch.sweep db1 {kind=peek}", "scratch.psql db1", "scratch.sweep db1 {kind=peek}" } },
  case { "psql is not there", params = { before = "2024-05-01T12:00:00Z", psql = true }, answers = { ["scratch.has_psql"] = fails "psql is not installed" }, fails = "psql is not installed", never = { "scratch.make" } },
  case { "psql and a query", params = { before = "2024-05-01T12:00:00Z", psql = true, query = "SELECT 1" }, fails = "give --psql or --query", never = { "scratch.make" } },

  case { "list", params = { list = true }, sweep = true, never = { "scratch.make", "scratch.remove" },
    says = { "peek-1  as of 2024-05-01T12:00:00Z  psql -h /run", "peek-2  as of 2024-05-01T13:00:00Z  not running: warmrun peek close peek-2" } },
  case { "close", params = { close = true }, sweep = true, calls = { "scratch.remove db1 {dir=/scratch/peek-1}", "scratch.remove db1 {dir=/scratch/peek-2}" }, never = { "scratch.make" }, says = { "Closed peek-1", "Closed peek-2" } },
  case { "close one", params = { close = true, id = "peek-2" }, calls = { "scratch.remove db1 {dir=/scratch/peek-2}" }, never = { "scratch.remove db1 {dir=/scratch/peek-1}" }, says = { "Closed peek-2" } },
  case { "close one that is not there", params = { close = true, id = "peek-9" }, fails = "no peek peek-9 is open on db1", hint = "warmrun peek list", never = { "scratch.remove" } },
  case { "an ID and a time", params = { before = "2024-05-01T12:00:00Z", id = "peek-1" }, fails = "give --before TIME", never = { "scratch.make" } },
  case { "nothing asked for", fails = "give --before TIME", never = { "scratch.make" } },
  case { "too much asked for", params = { list = true, close = true }, fails = "give --before TIME", never = { "scratch.remove" } },
  case { "the archive does not reach it", params = { before = "2024-05-01T12:00:00Z" }, answers = { ["scratch.reach"] = fails "does not reach it" }, fails = "does not reach it", never = { "scratch.make" } },
}
