-- failover: the primary is dead, or declared lost; this standby (or the DR
-- node, when both others are gone) takes over. Run it on the node that is to
-- become the primary.
--
-- First everything that can still be had is fetched: the unarchived WAL of the
-- old primary where its host answers, and what another archive has and this
-- one lacks. What would be lost is said before anything is promoted.

local left = require "left"

return runbook {
  api = 1,
  name = "failover",
  summary = "Take over from a dead primary: salvage its WAL, say what is lost, fence it, promote this node",
  runs_on = "standby",
  lock = "cluster",

  params = {
    fast = param.boolean { default = false, help = "open now, without replaying WAL that is in the archive but not replayed yet" },
    accept_split = param.boolean { default = false, help = "take over although another node cannot be reached and may still accept writes" },
    replay_timeout = param.duration { default = "1h", help = "how long replaying what has been salvaged may take" },
  },

  checks = {
    check { "this node can be promoted", function(c)
      standby.promotable(c.node)
      return true
    end },
    check { "its server runs, or can be started", function(c)
      return pg_ctl.status(c.node).running or pg_ctl.may_control(c.node)
    end },
    -- Nothing of it keeps the site without a primary.
    check { "how it would do as the primary was looked at", function(c)
      standby.warn(c.node)
      return true
    end },
    check { "no other node accepts writes", function(c)
      rivals.check(c.node, { accept_split = c.params.accept_split, fast = c.params.fast, hook = true })
      return true
    end, again = true },
  },

  steps = {
    -- The old primary must not come back writable while its WAL is read. One that
    -- cannot be asked is switched off by the site's fencing hook, if there is one.
    step { "old primary", leaves = left.fenced("old primary"), run = function(c)
      return rivals.fence(c.node, { accept_split = c.params.accept_split })
    end, repeatable = true },

    step { "salvage", undo = false, timeout = "24h", run = function(c)
      return rivals.salvage(c.node)
    end, repeatable = true },

    step { "collect", undo = false, timeout = "24h", run = function(c)
      return rivals.collect(c.node)
    end, repeatable = true },

    step { "loss",
      run = function(c)
        local loss = rivals.loss(c.node, { salvaged = c.results.salvage, fast = c.params.fast })
        say("%s", loss.sentence)
        return loss
      end },

    step { "start", leaves = left.started,
      hint = "nobody was promoted; run failover again to go on",
      confirm = function(c) return "Promote " .. c.node .. "?" end,
      run = function(c)
        if not pg_ctl.status(c.node).running then pg_ctl.start(c.node) end
      end,
      repeatable = true },

    -- One history from here on: whatever the old primary may still ship past
    -- this point is refused in every archive that could be told. What it has shipped
    -- to one of them since "collect" is fetched first.
    step { "fence",
      run = function(c) return fence.enclose(c.node, { fast = c.params.fast, by = "failover" }) end,
      undo = function(c)
        local cut = c.results.fence
        if cut then fence.lower(c.node, { timeline = cut.timeline, lsn = cut.lsn, by = "failover" }) end
      end,
      repeatable = true },

    step { "replay", when = function(c) return not c.params.fast end, timeout = "24h", run = function(c)
      standby.replay_archive(c.node, { timeout = c.params.replay_timeout })
    end },

    -- Nobody else may have come up while WAL was fetched and replayed. What
    -- triggerStandby would do besides is done.
    step { "promote", timeout = "24h", run = function(c)
      rivals.check(c.node, { accept_split = c.params.accept_split, fast = c.params.fast, off = c.results["old primary"].off })
      runbooks.run(c.node, "triggerStandby", { archiving = true, fast = c.params.fast, handover = true })
    end },

    step { "advice", run = function(c)
      if c.node == c.dr then
        say("%s is the primary now. When %s is back, warmrun status on %s says how to return to it.", c.node, c.partner, c.node)
      else
        say("%s is the primary now. When the old primary is back: warmrun rejoin on it makes it a standby, and warmrun switchback returns to it.", c.node)
      end
      for _, line in ipairs(archive.outlook(c.node).lines) do say("%s", line) end
    end },
  },
}
