-- switchback: return to the node that was the primary before. Where that node
-- already follows as a standby this is a switchover; after a failover it is
-- rebuilt first, from a base copy of the new primary.

return runbook {
  api = 1,
  name = "switchback",
  summary = "Return to the former primary: rebuild it where needed, then switch over",
  runs_on = "any",
  lock = "cluster",

  params = {
    drain = param.duration { default = "60s", help = "how long clients may finish on their own before a fast stop" },
    erase = param.boolean { default = false, help = "the former primary may be rebuilt: what only it has is given up" },
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
        say("%s is rebuilt from a base copy of %s", pair.other, pair.primary)
      end
      return pair
    end },

    step { "prepare", when = function(c) return not c.results.roles.follows end, run = function(c)
      runbooks.run(c.results.roles.other, "configStandby", { erase = true })
    end },

    step { "copy", timeout = "168h", when = function(c) return not c.results.roles.follows end, run = function(c)
      runbooks.run(c.results.roles.primary, "copyToStandby", { start = true })
    end },

    step { "catchup", undo = false, timeout = "24h", when = function(c) return not c.results.roles.follows end, run = function(c)
      local roles = c.results.roles
      local switched = archive.switch(roles.primary)
      standby.follows(roles.other, { lsn = switched.lsn, timeout = "1h" })
    end, repeatable = true },

    step { "switch", timeout = "6h", when = function(c) return not c.params.rebuild_only end, run = function(c)
      runbooks.run(c.node, "switchover", { drain = c.params.drain })
    end },
  },
}
