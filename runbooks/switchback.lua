-- switchback: return to the node that was the primary before. Where that node
-- already follows as a standby this is a switchover; after a failover rejoin makes
-- it a standby first, by whatever suffices.

return runbook {
  api = 1,
  name = "switchback",
  summary = "Return to the former primary: have it rejoin where needed, then switch over",
  runs_on = "any",
  lock = "cluster",

  params = {
    drain = param.duration { default = "60s", help = "how long clients may finish on their own before a fast stop" },
    erase = param.boolean { default = false, help = "the former primary may be made a standby first: what only it has is given up" },
    rebuild_only = param.boolean { default = false, help = "make the former primary a standby again and stop there" },
  },

  checks = {
    check { "one node is the primary and the other can be reached", function(c)
      cluster.primary_and_other()
      return true
    end },
    check { "the former primary follows already, or may be rebuilt", hint = "what only it has (see: warmrun status) is given up by a rebuild; if that is right, repeat with --erase",
      function(c)
        local pair = cluster.primary_and_other()
        local why = pair.why ~= "" and ": " .. pair.why or ""
        return pair.follows or c.params.erase, pair.other .. " does not follow " .. pair.primary .. " and would have to be rebuilt" .. why
      end },
    check { "the servers of both can be stopped and started again", function(c)
      local pair = cluster.primary_and_other()
      return (c.params.rebuild_only or pg_ctl.may_control(pair.primary)) and pg_ctl.may_control(pair.other)
    end },
  },

  steps = {
    step { "roles", run = function(c)
      local pair = cluster.primary_and_other()
      if pair.follows then
        say("%s follows %s already; nothing to rebuild", pair.other, pair.primary)
      else
        say("%s becomes a standby of %s first", pair.other, pair.primary)
      end
      return pair
    end },

    step { "rejoin", timeout = "168h", when = function(c) return not c.results.roles.follows end, run = function(c)
      runbooks.run(c.results.roles.other, "rejoin", {})
    end },

    step { "switch", timeout = "6h", when = function(c) return not c.params.rebuild_only end, run = function(c)
      runbooks.run(c.node, "switchover", { drain = c.params.drain })
    end },
  },
}
