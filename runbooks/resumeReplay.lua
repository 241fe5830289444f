-- resumeReplay: let this standby replay again what has arrived since pauseReplay.

local replaying = require "replaying"

return runbook {
  api = 1,
  name = "resumeReplay",
  summary = "Let this standby replay again after pauseReplay",
  runs_on = "any",
  lock = "node",

  checks = { replaying },

  steps = {
    step { "resume", undo = false, run = function(c)
      psql.exec(c.node, "SELECT pg_wal_replay_resume()")
      say("%s replays again, from %s on", c.node, psql.value(c.node, "SELECT pg_last_wal_replay_lsn()"))
    end, repeatable = true },
  },
}
