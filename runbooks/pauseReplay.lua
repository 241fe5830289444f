-- pauseReplay: stop this standby's replay where it is, until resumeReplay. WAL goes
-- on arriving and stays in the archive. Queries go on, too.

local replaying = require "replaying"

return runbook {
  api = 1,
  name = "pauseReplay",
  summary = "Stop this standby's replay where it is, until resumeReplay",
  runs_on = "any",
  lock = "node",
  next = "resumeReplay",

  checks = { replaying },

  steps = {
    step { "pause",
      run = function(c)
        psql.exec(c.node, "SELECT pg_wal_replay_pause()")
        say("%s replays no more, from %s on", c.node, psql.value(c.node, "SELECT pg_last_wal_replay_lsn()"))
      end,
      undo = function(c) psql.exec(c.node, "SELECT pg_wal_replay_resume()") end, repeatable = true },
  },
}
