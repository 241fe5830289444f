-- triggerStandby: make this standby a primary. Run it on the standby, or on the
-- DR node. It is the second half of a switchover, and all of a failover where
-- the primary is gone.
--
-- Two nodes must never accept writes: it refuses while another node does, makes
-- a stopped old primary unable to come back as one, and where it cannot reach a
-- node asks for the site's fencing hook or --accept-split.

local left = require "left"

return runbook {
  api = 1,
  name = "triggerStandby",
  summary = "Promote this standby or DR node to primary",
  runs_on = "standby",
  lock = "cluster",

  params = {
    fast = param.boolean { default = false, help = "open now, without replaying WAL that is in the archive but not replayed yet (also: triggerStandby fast)" },
    accept_split = param.boolean { default = false, help = "promote although another node cannot be reached and may still accept writes" },
    accept_loss = param.boolean { default = false, help = "promote although a dead primary that answers has transactions which this node lacks" },
    archiving = param.boolean { default = false, help = "ship the new primary's WAL, so that the others can follow it (switchover and failover do)" },
    handover = param.boolean { default = false, help = "part of a switchover or failover, which has made the checks and raised the fence (they say so)" },
    timeout = param.duration { default = "1h", help = "how long replaying what is left may take" },
  },

  checks = {
    check { "this node can be promoted", function(c)
      standby.promotable(c.node)
      return true
    end },
    check { "its server runs, or can be started", function(c)
      return pg_ctl.status(c.node).running or pg_ctl.may_control(c.node)
    end },
    -- Nothing of it keeps the site without a primary. A switchover has made sure.
    check { "how it would do as the primary was looked at", function(c)
      if not c.params.handover then standby.warn(c.node) end
      return true
    end },
    check { "no other node accepts writes", function(c)
      rivals.check(c.node, { accept_split = c.params.accept_split, nothing_left = not c.params.accept_loss, fast = c.params.fast, hook = true, checked = c.params.handover })
      return true
    end, again = true },
  },

  steps = {
    step { "fence", leaves = left.fenced("fence"), when = function(c) return not c.params.handover end, run = function(c)
      return rivals.fence(c.node, { accept_split = c.params.accept_split })
    end, repeatable = true },

    step { "archiving",
      run = function(c)
        -- A switchover has seen to it before clients had to wait.
        if c.params.handover and archive.active(c.node) then return { was = true } end
        return archive.set_active(c.node, { active = c.params.archiving })
      end,
      undo = function(c)
        local before = c.results.archiving
        if before then archive.set_active(c.node, { active = before.was }) end
      end,
      repeatable = true,
    },

    step { "start", leaves = left.started, when = function(c) return not pg_ctl.status(c.node).running end, run = function(c)
      pg_ctl.start(c.node)
    end, repeatable = true },

    -- One history from here on: whatever an old primary may still ship past
    -- this point is refused in every archive that could be told. A switchover or
    -- failover has done it already.
    step { "cut", when = function(c) return not c.params.handover end,
      run = function(c)
        local cut = standby.recovery_end(c.node, { fast = c.params.fast })
        return fence.raise(c.node, { timeline = cut.timeline, lsn = cut.cut, by = "triggerStandby" })
      end,
      undo = function(c)
        local cut = c.results.cut
        if cut then fence.lower(c.node, { timeline = cut.timeline, lsn = cut.lsn, by = "triggerStandby" }) end
      end,
      repeatable = true,
    },

    step { "trigger", irreversible = true, timeout = "2h", run = function(c)
      local trigger = standby.trigger(c.node, { fast = c.params.fast })
      say("Server now triggered to start")
      if not cluster.is_primary(c.node) then standby.promote(c.node, { timeout = c.params.timeout }) end
      standby.clear_trigger(c.node)
      say("Recovery is complete and the server running; %s has been removed.", trigger.path)
    end, repeatable = true,
      expect = function(c)
        local at = standby.replayed(c.node).lsn
        local left_over = standby.recovery_end(c.node, { fast = c.params.fast }).lsn - at
        return string.format("%s has replayed up to %s, and %d bytes of its archive are left to replay", c.node, at, left_over)
      end },

    step { "verify", outage = "ends", mark = "the outage ends: clients can write again, on this node", retries = 10, delay = "1s", run = function(c)
      local now = standby.opened(c.node)
      say("%s accepts writes on timeline %d at %s", c.node, now.timeline, now.lsn)
      if not c.params.archiving then
        say("Archiving is off on %s: its WAL is dropped, and no other node can follow it.", c.node)
        say("To give it a standby again: warmrun copyToStandby --start on %s, which copies it anew. The next time: warmrun triggerStandby --archiving", c.node)
      end
      return now
    end },
  },
}
