-- resumeReplay: let this standby replay again what has arrived since pauseReplay.

return runbook {
  api = 1,
  name = "resumeReplay",
  summary = "Let this standby replay again after pauseReplay",
  runs_on = "any",
  lock = "node",

  checks = {
    check { "the server here is a standby that answers queries", function(c)
      return psql.in_recovery(c.node), c.node .. " is not in recovery: it replays nothing"
    end },
  },

  steps = {
    step { "resume", undo = false, run = function(c)
      psql.exec(c.node, "SELECT pg_wal_replay_resume()")
      say("%s replays again, from %s on", c.node, psql.value(c.node, "SELECT pg_last_wal_replay_lsn()"))
    end, repeatable = true },
  },
}
