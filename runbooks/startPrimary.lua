-- startPrimary: start this node's server again as the primary it was, after a
-- flushPrimary that is not to be followed by a promotion. It refuses as soon
-- as the standby was promoted, or may have been. On a primary that runs it takes
-- down a fence that was left on its timeline, and nothing else.

return runbook {
  api = 1,
  name = "startPrimary",
  summary = "Take a flushPrimary back: start this node as the primary it was, if nobody else was promoted",
  runs_on = "any",
  lock = "cluster",

  params = {
    accept_split = param.boolean { default = false, help = "start although the standby cannot be asked and may have been promoted" },
  },

  checks = {
    check { "its server can be started", function(c) return pg_ctl.may_control(c.node) end },
  },

  steps = {
    -- A run that was killed between its fence and its promotion.
    step { "fence", undo = false, when = function(c) return fence.liftable(c.node) end, run = function(c) fence.lift(c.node) end, repeatable = true },

    step { "start", undo = false, run = function(c)
      local ran = cluster.is_primary(c.node) and pg_ctl.status(c.node).ready == "ready"
      if not ran then standby.bring_back(c.node, { partner = c.partner, accept_split = c.params.accept_split }) end
      local ships = archive.active(c.node)
      if ran then
        say("%s runs as the primary already; nothing was done", c.node)
      elseif ships then
        say("%s accepts writes again and ships its WAL to %s", c.node, c.partner)
      else
        say("%s accepts writes again", c.node)
      end
      if not ships then
        say("Archiving is off on %s: its WAL is dropped, and no other node can follow it. To turn it on: warmrun copyToStandby --start on %s", c.node, c.node)
      end
    end, repeatable = true },
  },
}
