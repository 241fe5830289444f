-- rejoin: make a node a standby of the primary there is: an old primary that has
-- come back, or a standby that has gone its own way. Run it on that node.
--
-- It takes what suffices: nothing, a start, pg_rewind, or a base copy over what is
-- there, and says which before it is done. WAL that only this node has is copied to
-- local/kept first.

local relayed = require "relayed"

return runbook {
  api = 1,
  name = "rejoin",
  summary = "Make this node a standby of the primary, by a start, pg_rewind or a copy, whichever suffices",
  runs_on = "any",
  lock = "cluster",

  params = {
    copy = param.boolean { default = false, help = "take a base copy, whatever else would do" },
  },

  checks = {
    check { "another node is the primary", function(c)
      cluster.superseding(c.node)
      return true
    end },
    check { "the primary ships its WAL", function(c)
      local primary = cluster.superseding(c.node).node
      if archive.active(primary) then return true end
      fail { "archiving is not active on " .. primary .. ": " .. c.node .. " could not follow it",
        hint = "to have " .. c.node .. " copied anew, which gives up what only it has: warmrun configStandby --erase on it, then warmrun copyToStandby --start on " .. primary }
    end },
    check { "its server can be stopped and started", function(c) return pg_ctl.may_control(c.node) end },
  },

  steps = {
    step { "look", run = function(c)
      local primary = cluster.superseding(c.node)
      local found = standby.returns(c.node, { primary = primary.lineage })
      say("%s", found.why)
      if found.writes then say("%s accepts writes beside %s: it is stopped first", c.node, primary.node) end
      return { primary = primary.node, found = found }
    end },

    step { "stop", undo = false,
      when = function(c)
        local found = c.results.look.found
        return found.running and (found.way ~= "follows" or c.params.copy)
      end,
      run = function(c) pg_ctl.stop(c.node, {}) end,
      repeatable = true,
    },

    -- From here it can only come up as a standby.
    step { "fence", undo = false,
      when = function(c)
        local found = c.results.look.found
        return not found.empty and (found.way ~= "follows" or c.params.copy)
      end,
      run = function(c)
        standby.configure(c.node, { fence = true })
        archive.set_active(c.node, { active = false })
      end,
      repeatable = true,
    },

    -- A server that ran may have written more until it was stopped.
    step { "way", run = function(c)
      local look = c.results.look
      local found = look.found
      if found.way ~= "follows" then
        found = standby.returns(c.node, { primary = cluster.superseding(c.node).lineage })
        if found.why ~= look.found.why then say("%s", found.why) end
      end
      if c.params.copy then found.way = "copy" end
      return found
    end },

    step { "keep", undo = false, when = function(c) return c.results.way.diverged end, run = function(c)
      local way = c.results.way
      local kept = standby.keep_wal(c.node, { timeline = way.timeline, fork = way.fork, end_lsn = way.end_lsn })
      say("%d WAL files that only %s has are kept in %s", kept.files, c.node, kept.path)
      return kept
    end, repeatable = true },

    step { "rewind", undo = false, timeout = "24h", when = function(c) return c.results.way.way == "rewind" end,
      hint = "to take a base copy instead: warmrun rejoin --copy",
      confirm = function(c) return "Take " .. c.node .. " back to " .. tostring(c.results.way.fork) .. "? What only it has is then only in the WAL that was kept." end,
      run = function(c) standby.rewind(c.node, { primary = c.results.look.primary }) end },

    step { "copy", timeout = "168h", when = function(c) return c.results.way.way == "copy" end,
      confirm = function(c) return "Copy " .. c.results.look.primary .. " over " .. c.node .. "? What only it has is then only in the WAL that was kept." end,
      run = function(c)
        runbooks.run(c.node, "configStandby", { erase = true })
        runbooks.run(c.results.look.primary, c.node == c.dr and "copyToDR" or "copyToStandby", { start = true })
      end },

    step { "start", undo = false, timeout = "3h",
      when = function(c) return c.results.way.way == "start" or c.results.way.way == "rewind" end,
      run = function(c)
        local lineage = cluster.superseding(c.node).lineage
        if lineage.timeline > 1 then
          local history = { history = lineage.timeline, timeout = "5m" }
          relayed(c, c.results.look.primary, history)
          archive.wait(c.node, history)
        end
        -- What it wrote itself it has shipped elsewhere: one by one, as the server
        -- asks for them, segments would take long to come back.
        archive.pull(c.node, { from = c.results.look.primary, lenient = true })
        standby.slot(c.results.look.primary, { standby = c.node })
        standby.clear_wal(c.node, { primary = lineage })
        pg_ctl.start(c.node)
      end,
      repeatable = true,
    },

    step { "catchup", undo = false, timeout = "24h", hint = "its server log says what it waits for; to take a base copy: warmrun rejoin --copy", run = function(c)
      local primary = c.results.look.primary
      local switched = archive.switch(primary)
      relayed(c, primary, { segment = switched.segment, timeout = "1m" })
      standby.follows(c.node, { lsn = switched.lsn, timeout = "10m" })
      if primary ~= c.dr then standby.slot(c.node, { standby = primary, drop = true }) end
      say("%s follows %s on timeline %d", c.node, primary, switched.timeline)
    end, repeatable = true },
  },
}
