-- flushPrimary: the first half of a switchover. Run it on the primary.
--
-- It ends with the primary stopped cleanly and every byte of its WAL, through
-- the shutdown checkpoint, in the standby's archive and in the DR node's.
-- It never falls back to an immediate stop, and it never ends with 0 unless
-- the other side has everything.

-- fit is looked at twice: checks are worth what they say at the moment of the stop.
local function fit(c)
  return standby.fit(c.node, {
    standby = c.partner, max_lag = c.params.max_lag,
    accept_lost_slots = c.params.accept_lost_slots, accept_missing_libraries = c.params.accept_missing_libraries,
  })
end

-- third is the node that is relayed to: the DR node or, where that is the primary,
-- the other one of the pair.
local function third(c)
  for _, other in ipairs(cluster.others(c.node)) do
    if other ~= c.partner then return other end
  end
end

return runbook {
  api = 1,
  name = "flushPrimary",
  summary = "Stop the primary cleanly and ship every WAL record to the standby and the DR node",
  runs_on = "primary",
  lock = "cluster",
  next = "triggerStandby --archiving, on the standby",

  params = {
    drain = param.duration { default = "60s", help = "how long clients may finish on their own before a fast stop" },
    stop_timeout = param.duration { default = "10m", help = "how long the fast stop may take; it is never made immediate" },
    max_backlog = param.integer { default = 16, help = "refuse to stop while more segments than this wait to be archived" },
    max_lag = param.size { default = "64MB", help = "refuse to stop while the standby has more than this to replay (0: no limit)" },
    accept_lost_slots = param.boolean { default = false, help = "stop although logical replication slots do not go over to the standby" },
    accept_missing_libraries = param.boolean { default = false, help = "stop although the standby lacks libraries of extensions" },
    relay = param.boolean { default = true, help = "bring the DR node up to date, too, before this ends (a switchover does that when clients can write again)" },
    ship_timeout = param.duration { default = "10m", help = "how long shipping the last segments may take" },
  },

  checks = {
    check { "the node is a primary that accepts writes", function(c)
      return psql.in_recovery(c.node) == false, c.node .. " is in recovery: run flushPrimary on the primary"
    end },
    check { "WAL is being shipped", hint = "to give it a standby: warmrun configStandby on the standby, then warmrun copyToStandby --start here", function(c)
      return archive.active(c.node), "archiving is not active on " .. c.node .. ": run copyToStandby first"
    end },
    check { "no other node was promoted", function(c)
      rivals.none_promoted(c.node)
      return true
    end },
    check { "the standby follows this primary", hint = "warmrun status shows where it is; to make it a standby of this primary again: warmrun rejoin on it", function(c)
      local descent = standby.follows_primary(c.partner, { primary = c.node })
      return descent.ok, descent.reason
    end },
    check { "what is archived now gets through", retries = 3, delay = "1s", function(c)
      return archive.working(c.node)
    end },
    check { "the standby's archive takes this cluster's WAL", retries = 2, delay = "1s", function(c)
      archive.check(c.partner, { source = c.node })
      return true
    end },
    check { "its server can be stopped and started again", function(c) return pg_ctl.may_control(c.node) end },
    check { "both nodes are fit to change places", fit, again = true },
    check { "few segments wait to be archived", retries = 10, delay = "1s", function(c)
      local waiting = archive.backlog(c.node)
      return waiting.ready <= c.params.max_backlog,
        string.format("%d segments still wait to be archived, more than --max-backlog %d; %s", waiting.ready, c.params.max_backlog, waiting.drain)
    end },
  },

  steps = {
    step { "logs", undo = false, run = function(c)
      say("Saving primary log files to the standby")
      copy.logs(c.node, { to = c.partner })
    end, repeatable = true },

    step { "checkpoint", undo = false, timeout = "1h", run = function(c)
      say("Executing pre-flush checkpoint")
      psql.exec(c.node, "CHECKPOINT")
      say("CHECKPOINT")
    end, repeatable = true },

    step { "drain", undo = false, run = function(c)
      say("Waiting for archiver flush to complete")
      local switched = archive.switch(c.node)
      say("Switched WAL at %s", switched.lsn)
      archive.drain(c.node, { timeout = c.params.ship_timeout })
    end, repeatable = true },

    -- The connection that the last segment goes over is there before clients have to
    -- wait for it.
    step { "look again", undo = false, run = function(c)
      rivals.none_promoted(c.node)
      fit(c)
      standby.ready_to_flush(c.node, { to = c.partner })
    end, retries = 5, delay = "1s", repeatable = true },

    step { "stop", outage = "begins",
      timeout = "1h",
      expect = function(c)
        local clients = psql.value(c.node, "SELECT count(*) FROM pg_stat_activity WHERE state IS NOT NULL AND pid <> pg_backend_pid()")
        return string.format("%d clients are connected and have %s to finish; then a fast stop, of at most %s", clients, c.params.drain, c.params.stop_timeout)
      end,
      run = function(c)
        say("Blocking new connections to the server (%s for clients to finish, then a fast stop)", c.params.drain)
        pg_ctl.stop(c.node, { drain = c.params.drain, timeout = c.params.stop_timeout })
        say("Server shutdown normally")
      end,
      undo = function(c) standby.bring_back(c.node, { partner = c.partner, undo = true }) end,
      repeatable = true,
    },

    -- From here no service manager can bring this node back as a second
    -- primary: it would start as a standby. One that had died by itself is not
    -- fenced: it must recover first, as the primary that it was.
    step { "fence",
      run = function(c)
        standby.configure(c.node, { fence = true, clean = true })
        archive.set_active(c.node, { active = false })
      end,
      undo = function(c) archive.set_active(c.node, { active = true }) end,
      repeatable = true,
    },

    step { "flush", undo = false, timeout = "1h", retries = 2, delay = "2s", run = function(c)
      say("Flushing archive WAL files to standby")
      local flushed = standby.flush(c.node, { to = c.partner })
      say("%s has every WAL record through the shutdown checkpoint, up to %s", c.partner, flushed.end_lsn)
      return flushed
    end },

    -- As part of a switchover there is nothing to advise, and clients wait.
    step { "relay", undo = false, when = function(c) return c.params.relay end, run = function(c)
      if c.dr ~= nil then relay.try(c.partner, { to = third(c) }) end
      say("%s is stopped and will start only as a standby.", c.node)
      say("To go on: warmrun triggerStandby --archiving on %s; then start the server on %s, which follows.", c.partner, c.node)
      say("To take it back instead: warmrun startPrimary on %s.", c.node)
    end, repeatable = true },
  },
}
