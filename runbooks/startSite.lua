-- startSite: start every server of the site after a stopSite, or after the power
-- has come back: those that follow first, so that the primary finds them, then the
-- primary. It refuses where it is not clear which node that is.

-- parts sorts the nodes by what a start would make of them.
local function parts(c)
  local found = { primaries = {}, standbys = {} }
  local names = cluster.others(c.node)
  table.insert(names, c.node)
  table.sort(names)
  for _, name in ipairs(names) do
    local role = standby.state(name).role
    if role == "primary" or role == "stopped primary" then table.insert(found.primaries, name) end
    if role == "standby" or role == "stopped standby" then table.insert(found.standbys, name) end
  end
  return found
end

return runbook {
  api = 1,
  name = "startSite",
  summary = "Start all servers: those that follow, then the primary",
  runs_on = "any",
  lock = "cluster",

  checks = {
    check { "exactly one node is the primary", hint = "warmrun status shows what every node is; a node that must not be the primary: warmrun rejoin on it, once the other runs", function(c)
      local primaries = parts(c).primaries
      return #primaries == 1, string.format("%d nodes would be a primary: %s", #primaries, #primaries > 0 and table.concat(primaries, ", ") or "none")
    end },
    check { "no other node was promoted beside it", function(c)
      local found = parts(c)
      for _, name in ipairs(found.standbys) do
        local ahead = pg_ctl.control(name).timeline > pg_ctl.control(found.primaries[1]).timeline
        if ahead then fail { name .. " is on a newer timeline than " .. found.primaries[1], hint = "nothing was started; warmrun status shows which one is the primary" } end
      end
      return true
    end },
    check { "all servers can be started", function(c)
      local found = parts(c)
      for _, name in ipairs(found.standbys) do
        if not pg_ctl.may_control(name) then return false end
      end
      return pg_ctl.may_control(found.primaries[1])
    end },
  },

  steps = {
    step { "roles", run = function(c) return parts(c) end },

    step { "start the standbys", undo = false, run = function(c)
      for _, name in ipairs(c.results.roles.standbys) do
        if not pg_ctl.status(name).running then
          pg_ctl.start(name)
          say("Standby server on %s started", name)
        end
      end
    end, repeatable = true },

    step { "start the primary", undo = false, timeout = "3h", run = function(c)
      local primary = c.results.roles.primaries[1]
      if not pg_ctl.status(primary).running then pg_ctl.start(primary) end
    end, repeatable = true },

    step { "verify", outage = "ends", undo = false, retries = 10, delay = "1s", run = function(c)
      local primary = c.results.roles.primaries[1]
      local now = standby.opened(primary)
      say("%s accepts writes on timeline %d at %s", primary, now.timeline, now.lsn)
    end },

    step { "catchup", undo = false, timeout = "24h", run = function(c)
      local primary = c.results.roles.primaries[1]
      local switched = archive.switch(primary)
      for _, name in ipairs(c.results.roles.standbys) do
        if name ~= c.dr then
          standby.follows(name, { lsn = switched.lsn, timeout = "1h" })
          say("%s follows %s", name, primary)
        end
      end
    end, repeatable = true },
  },
}
