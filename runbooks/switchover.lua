-- switchover: primary and standby change places, with nothing lost and nothing
-- copied again. Run it on any node.
--
--   flushPrimary on the primary, proof that the standby replayed it all, the
--   fence in every archive, triggerStandby, and the old primary follows.
--
-- Until the promotion any failure brings the old primary back for writing.

local follow = require "follow"

return runbook {
  api = 1,
  name = "switchover",
  summary = "Primary and standby change places; nothing is lost and nothing is copied again",
  runs_on = "any",
  lock = "cluster",

  params = {
    drain = param.duration { default = "60s", help = "how long clients may finish on their own before a fast stop" },
    max_backlog = param.integer { default = 16, help = "refuse to stop while more segments than this wait to be archived" },
    replay_timeout = param.duration { default = "10m", help = "how long the standby may take to replay the last WAL" },
  },

  checks = {
    check { "there is one primary and one running standby", function(c)
      local pair = cluster.pair()
      if not pg_ctl.status(pair.standby).running then
        fail { "the standby " .. pair.standby .. " is not running",
          hint = "nothing was changed; on " .. pair.standby .. ": pg_ctl -D " .. cluster.node(pair.standby).pgdata .. " start, or start its service; when warmrun status shows that it has caught up, repeat" }
      end
      return true
    end },
    check { "the servers of both can be stopped and started again", function(c)
      local pair = cluster.pair()
      return pg_ctl.may_control(pair.primary) and pg_ctl.may_control(pair.standby)
    end },
    check { "the standby replays this primary's WAL", function(c)
      local pair = cluster.pair()
      local descent = standby.follows_primary(pair.standby, { primary = pair.primary })
      return descent.ok, descent.reason
    end },
  },

  steps = {
    step { "roles", run = function(c)
      local pair = cluster.pair()
      say("%s is the primary and %s the standby; they change places", pair.primary, pair.standby)
      return pair
    end },

    step { "flush", timeout = "3h",
      run = function(c)
        -- Clients wait from the stop on: the DR node is relayed to afterwards.
        return runbooks.run(c.results.roles.primary, "flushPrimary", { drain = c.params.drain, max_backlog = c.params.max_backlog, relay = false })
      end,
      undo = function(c)
        local pair = c.results.roles
        standby.bring_back(pair.primary, { partner = pair.standby, undo = true })
      end,
    },

    step { "prove", timeout = "3h", run = function(c)
      local pair = c.results.roles
      local point = standby.shutdown_point(pair.primary)
      local proof = standby.prove_replay(pair.standby, { lsn = point.end_lsn, timeline = point.timeline, checkpoint = point.checkpoint, timeout = c.params.replay_timeout })
      say("%s has replayed everything up to %s (%s)", pair.standby, point.end_lsn, proof.how)
      return point
    end },

    step { "fence",
      run = function(c)
        local point = c.results.prove
        return fence.raise(c.results.roles.standby, { timeline = point.timeline, lsn = point.end_lsn, by = "switchover" })
      end,
      undo = function(c) fence.lower(c.results.roles.standby, { timeline = c.results.prove.timeline, lsn = c.results.prove.end_lsn, by = "switchover" }) end,
      repeatable = true,
    },

    step { "promote", timeout = "3h", run = function(c)
      runbooks.run(c.results.roles.standby, "triggerStandby", { archiving = true, handover = true })
    end },

    step { "follow", undo = false, timeout = "3h", run = function(c)
      local pair = c.results.roles
      follow.rejoin(pair.primary, pair.standby, c.results.prove)
    end, repeatable = true },

    step { "relay", undo = false, when = function(c) return c.dr ~= nil end, run = function(c)
      relay.try(c.results.roles.primary, { to = c.dr })
    end, repeatable = true },
  },
}
