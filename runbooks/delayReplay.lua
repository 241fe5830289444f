-- delayReplay: make this standby stay behind by the delay that cluster.toml gives
-- its node, or no longer where it gives none. The server is restarted, which is
-- what every version understands.

local replaying = require "replaying"

return runbook {
  api = 1,
  name = "delayReplay",
  summary = "Make this standby stay behind by the delay in cluster.toml",
  runs_on = "any",
  lock = "node",

  checks = {
    replaying,
    check { "it can be stopped and started", function(c) return pg_ctl.may_control(c.node) end },
  },

  steps = {
    step { "stop", timeout = "1h",
      run = function(c) pg_ctl.stop(c.node, { mode = "fast" }) end,
      undo = function(c) pg_ctl.start(c.node) end, repeatable = true },
    -- Only the recovery settings and the signal file, as for an old primary.
    step { "configure", undo = false, run = function(c) standby.configure(c.node, { fence = true }) end, repeatable = true },
    step { "start", undo = false, run = function(c)
      pg_ctl.start(c.node)
      local delay = cluster.node(c.node).delay
      say("%s %s", c.node, delay and delay ~= "" and "replays " .. delay .. " after each commit" or "replays at once")
    end, repeatable = true },
  },
}
