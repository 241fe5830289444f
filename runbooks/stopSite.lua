-- stopSite: stop every server of the site, in the order in which nothing is
-- missing anywhere: the primary first, whose last WAL is shipped, then the
-- standby, which has replayed it, then the DR node. startSite starts them again.
--
-- The primary stays the primary.

return runbook {
  api = 1,
  name = "stopSite",
  summary = "Stop all servers: the primary first, then those that follow it",
  runs_on = "any",
  lock = "cluster",
  next = "startSite, when the site may run again",

  params = {
    drain = param.duration { default = "60s", help = "how long clients may finish on their own before a fast stop" },
    replay_timeout = param.duration { default = "10m", help = "how long the standby may take to replay the last WAL" },
  },

  checks = {
    check { "there is one primary and one running standby", function(c)
      local pair = cluster.pair()
      return pg_ctl.status(pair.standby).running, "the standby " .. pair.standby .. " is not running: the last WAL could not be seen to be replayed"
    end },
    check { "the standby replays this primary's WAL", function(c)
      local pair = cluster.pair()
      local descent = standby.follows_primary(pair.standby, { primary = pair.primary })
      return descent.ok, descent.reason
    end },
    check { "all servers can be stopped and started again", function(c)
      local pair = cluster.pair()
      return pg_ctl.may_control(pair.primary) and pg_ctl.may_control(pair.standby) and (c.dr == nil or pg_ctl.may_control(c.dr))
    end },
  },

  steps = {
    step { "roles", run = function(c)
      local pair = cluster.pair()
      return { primary = pair.primary, standby = pair.standby, seen = standby.position(pair.standby) }
    end },

    step { "checkpoint", undo = false, timeout = "1h", run = function(c) psql.exec(c.results.roles.primary, "CHECKPOINT") end, repeatable = true },

    step { "stop the primary", outage = "begins", timeout = "1h",
      run = function(c) pg_ctl.stop(c.results.roles.primary, { drain = c.params.drain }) end,
      undo = function(c) pg_ctl.start(c.results.roles.primary) end,
      repeatable = true,
    },

    step { "flush", undo = false, timeout = "1h", retries = 2, delay = "2s", run = function(c)
      local pair = c.results.roles
      local flushed = standby.flush(pair.primary, { to = pair.standby })
      local point = standby.shutdown_point(pair.primary)
      local proof = standby.prove_replay(pair.standby, { lsn = point.end_lsn, timeline = point.timeline, checkpoint = point.checkpoint, seen = pair.seen, timeout = c.params.replay_timeout })
      say("%s has replayed everything up to %s (%s)", pair.standby, flushed.end_lsn, proof.how)
    end },

    step { "stop the standby",
      run = function(c) pg_ctl.stop(c.results.roles.standby, {}) end,
      undo = function(c) pg_ctl.start(c.results.roles.standby) end,
      repeatable = true,
    },

    step { "stop the DR node", when = function(c) return c.dr ~= nil end,
      run = function(c)
        relay.try(c.results.roles.standby, { to = c.dr })
        pg_ctl.stop(c.dr, {})
      end,
      undo = function(c) pg_ctl.start(c.dr) end,
      repeatable = true,
    },
  },
}
