-- startStandby: start the server of this standby or DR node, and see that it follows
-- the primary.

local relayed = require "relayed"

return runbook {
  api = 1,
  name = "startStandby",
  summary = "Start this standby's server and see that it follows the primary",
  runs_on = "any",
  lock = "cluster",

  params = {
    timeout = param.duration { default = "1h", help = "how long it may take to catch up, once what the node before it has is relayed" },
  },

  checks = {
    check { "it can start only as a standby", hint = "a stopped primary is started with pg_ctl start; an old one that must not be one: warmrun rejoin", function(c)
      local state = standby.state(c.node)
      if state.role == "empty" then
        fail { c.node .. " has no copy to start from",
          hint = "warmrun configStandby on " .. c.node .. ", then warmrun " .. (c.node == c.dr and "copyToDR" or "copyToStandby") .. " --start on the primary" }
      end
      return state.role == "standby" or state.role == "stopped standby", c.node .. " is a " .. state.role
    end },
    check { "there is a primary for it to follow", function(c)
      cluster.superseding(c.node)
      return true
    end },
    check { "its server can be started", function(c) return pg_ctl.may_control(c.node) end },
  },

  steps = {
    step { "start", undo = false, run = function(c) pg_ctl.start(c.node) end, repeatable = true },

    step { "catchup", undo = false, timeout = "24h", hint = "its server log says what it waits for, and warmrun status what it lacks", run = function(c)
      local primary = cluster.superseding(c.node).node
      local switched = archive.switch(primary)
      relayed(c, primary, { segment = switched.segment, timeout = "1m" })
      standby.follows(c.node, { lsn = switched.lsn, timeout = c.params.timeout })
      say("%s follows %s on timeline %d", c.node, primary, switched.timeline)
    end, repeatable = true },
  },
}
