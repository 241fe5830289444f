-- switchover: primary and standby change places, with nothing lost and nothing
-- copied again. Run it on any node.
--
--   flushPrimary on the primary, proof that the standby replayed it all, the
--   fence in every archive, triggerStandby, and the old primary follows.
--
-- Until the promotion any failure brings the old primary back for writing. Clients
-- wait from the stop in flushPrimary to the promotion: what can be done before or
-- after that is.

local follow = require "follow"

-- direction refuses where the node that is to become the primary is none that can.
local function direction(c, pair)
  if c.params.to == nil or c.params.to == pair.standby then return end
  if c.params.to == pair.primary then
    fail { pair.primary .. " is the primary already", hint = "nothing was changed; to have " .. pair.standby .. " as the primary: warmrun switchover --to " .. pair.standby }
  end
  fail { c.params.to .. " is the DR node: a switchover changes the places of " .. pair.primary .. " and " .. pair.standby,
    hint = "nothing was changed; to move to " .. c.params.to .. " with nothing lost: warmrun flushPrimary on " .. pair.primary .. ", warmrun triggerStandby --archiving on " .. c.params.to
      .. ", then start the server on " .. pair.primary .. ", which follows" }
end

return runbook {
  api = 1,
  name = "switchover",
  summary = "Primary and standby change places; nothing is lost and nothing is copied again",
  runs_on = "any",
  lock = "cluster",

  params = {
    to = param.node { help = "the node that is to be the primary: refused where it is that already (default: the standby)" },
    drain = param.duration { default = "60s", help = "how long clients may finish on their own before a fast stop" },
    max_backlog = param.integer { default = 16, help = "refuse to stop while more segments than this wait to be archived" },
    max_lag = param.size { default = "64MB", help = "refuse to stop while the standby has more than this to replay (0: no limit)" },
    accept_lost_slots = param.boolean { default = false, help = "go on although logical replication slots do not go over to the standby" },
    accept_missing_libraries = param.boolean { default = false, help = "go on although the standby lacks libraries of extensions" },
    replay_timeout = param.duration { default = "10m", help = "how long the standby may take to replay the last WAL" },
  },

  checks = {
    check { "there is one primary and one running standby", function(c)
      local pair = cluster.pair()
      direction(c, pair)
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
      return { primary = pair.primary, standby = pair.standby, seen = standby.position(pair.standby) }
    end },

    -- Before clients have to wait for it. A standby ships nothing, whatever this says.
    step { "ready",
      run = function(c) return archive.set_active(c.results.roles.standby, { active = true }) end,
      undo = function(c)
        local before = c.results.ready
        archive.set_active(c.results.roles.standby, { active = before ~= nil and before.was })
      end,
      repeatable = true,
    },

    step { "flush", timeout = "3h",
      run = function(c)
        -- The DR node is relayed to when clients can write again.
        return runbooks.run(c.results.roles.primary, "flushPrimary", {
          drain = c.params.drain, max_backlog = c.params.max_backlog, max_lag = c.params.max_lag, relay = false,
          accept_lost_slots = c.params.accept_lost_slots, accept_missing_libraries = c.params.accept_missing_libraries,
        })
      end,
      undo = function(c)
        local pair = c.results.roles
        standby.bring_back(pair.primary, { partner = pair.standby, undo = true })
      end,
    },

    step { "prove", timeout = "3h", run = function(c)
      local pair = c.results.roles
      local point = standby.shutdown_point(pair.primary)
      local proof = standby.prove_replay(pair.standby, { lsn = point.end_lsn, timeline = point.timeline, checkpoint = point.checkpoint, seen = pair.seen, timeout = c.params.replay_timeout })
      say("%s has replayed everything up to %s (%s)", pair.standby, point.end_lsn, proof.how)
      return { point = point, proof = proof }
    end },

    step { "fence",
      run = function(c)
        local point = c.results.prove.point
        return fence.raise(c.results.roles.standby, { timeline = point.timeline, lsn = point.end_lsn, by = "switchover" })
      end,
      undo = function(c)
        local point = c.results.prove.point
        fence.lower(c.results.roles.standby, { timeline = point.timeline, lsn = point.end_lsn, by = "switchover" })
      end,
      repeatable = true,
    },

    -- Nobody else may accept writes at this moment, also where an interrupted run
    -- is gone on with much later. triggerStandby then leaves out what is done.
    step { "promote", timeout = "3h", run = function(c)
      rivals.check(c.results.roles.standby, { handover = true, stopped = c.results.roles.primary })
      runbooks.run(c.results.roles.standby, "triggerStandby", { archiving = true, handover = true })
    end },

    step { "follow", undo = false, timeout = "3h", run = function(c)
      local pair = c.results.roles
      return follow.rejoin(pair.primary, pair.standby, c.results.prove.point)
    end, repeatable = true },

    step { "relay", undo = false, when = function(c) return c.dr ~= nil end, run = function(c)
      relay.try(c.results.roles.primary, { to = c.dr })
    end, repeatable = true },

    step { "certificate", undo = false, run = function(c)
      local pair, proved, followed = c.results.roles, c.results.prove, c.results.follow
      local certificate = runs.certify(c.node, {
        old = pair.primary, new = pair.standby, point = proved.point, proof = proved.proof, cut = c.results.fence,
        timeline = followed.timeline, fork = followed.fork, follows = followed.lsn, old_hash = followed.old_hash, new_hash = followed.new_hash,
      })
      say("The certificate is %s", certificate.path)
      return certificate
    end, repeatable = true },
  },
}
