-- stopStandby: stop the server of this standby or DR node, for work on its host. The
-- primary goes on; what it writes meanwhile waits for this node.

return runbook {
  api = 1,
  name = "stopStandby",
  summary = "Stop this standby's server; the primary goes on",
  runs_on = "standby",
  lock = "cluster",
  next = "startStandby, when the work is done",

  checks = {
    check { "it is a standby that runs", function(c)
      local state = standby.state(c.node)
      return state.role == "standby", c.node .. " is a " .. state.role .. ": stopStandby is for a running standby"
    end },
    check { "its server can be stopped and started again", function(c) return pg_ctl.may_control(c.node) end },
  },

  steps = {
    step { "stop", run = function(c)
      pg_ctl.stop(c.node, {})
      say("The server on %s is stopped; its archive still takes what is shipped.", c.node)
    end, undo = function(c) pg_ctl.start(c.node) end, repeatable = true },
  },
}
