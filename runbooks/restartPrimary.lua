-- restartPrimary: stop and start the primary, for settings that need it. A
-- checkpoint comes first, so that the stop takes no longer than it must.

return runbook {
  api = 1,
  name = "restartPrimary",
  summary = "Stop and start the primary",
  runs_on = "primary",
  lock = "cluster",

  params = {
    drain = param.duration { default = "60s", help = "how long clients may finish on their own before a fast stop" },
  },

  checks = {
    check { "the node is a primary that accepts writes", function(c)
      return psql.in_recovery(c.node) == false, c.node .. " is in recovery: run restartPrimary on the primary"
    end },
    check { "no other node was promoted", function(c)
      rivals.none_promoted(c.node)
      return true
    end },
    check { "its server can be stopped and started again", function(c) return pg_ctl.may_control(c.node) end },
  },

  steps = {
    step { "checkpoint", undo = false, timeout = "1h", run = function(c) psql.exec(c.node, "CHECKPOINT") end, repeatable = true },

    step { "stop", outage = "begins", timeout = "1h",
      run = function(c) pg_ctl.stop(c.node, { drain = c.params.drain }) end,
      undo = function(c) pg_ctl.start(c.node) end,
      repeatable = true,
    },

    step { "start", undo = false, timeout = "3h", hint = "its server log says why; if it cannot come up: warmrun failover on the standby", run = function(c)
      pg_ctl.start(c.node)
    end, repeatable = true },

    step { "verify", outage = "ends", undo = false, retries = 10, delay = "1s", run = function(c)
      local now = standby.opened(c.node)
      say("%s accepts writes on timeline %d at %s", c.node, now.timeline, now.lsn)
    end },
  },
}
