-- drill: prove that this node can recover. A server beside everything else
-- recovers from the newest base copy to the newest WAL; pg_amcheck and the site's
-- queries (global/drill/*.sql) look at it; it is removed, and status shows how long
-- it took. Made for cron, on the node that keeps the base copies:
--
--   0 4 * * *  /var/lib/pgsql/warmrun/bin/warmrun --home /var/lib/pgsql/warmrun drill --quiet
--
-- Exit status: 0 all is well, 1 the drill has failed, 5 another one is under way.

return runbook {
  api = 1,
  name = "drill",
  summary = "Prove that this node can recover: restore, replay, check, and measure the time",
  runs_on = "any",
  lock = "node",

  params = {
    backup = param.string { help = "begin with this base copy (default: the newest)" },
    shared_buffers = param.string { default = "128MB", help = "shared_buffers of the server, which runs beside this node's own" },
    timeout = param.duration { default = "24h", help = "how long the recovery may take" },
  },

  checks = {
    check { "a base copy and the archive lead to the newest WAL", function(c)
      scratch.reach(c.node, { backup = c.params.backup })
      return true
    end },
  },

  steps = {
    step { "begin", timeout = "1h",
      run = function(c)
        drill.note(c.node, { ok = false, why = "it was begun and has not come to its end" })
      end,
      undo = function(c) drill.note(c.node, { ok = false, why = "the recovery failed: warmrun runs show says how" }) end, repeatable = true },

    -- One step: the server goes with the program that has made it, so a run that is
    -- gone on with makes another.
    step { "recover", timeout = "168h",
      run = function(c)
        scratch.sweep(c.node, { kind = "drill" })
        local made = scratch.make(c.node, { kind = "drill", backup = c.params.backup, shared_buffers = c.params.shared_buffers })
        local started = scratch.start(c.node, { dir = made.dir, timeout = c.params.timeout })
        say("Recovered from the base copy %s in %.1f s: %s", made.backup, started.seconds, started.text)
        local seen = scratch.examine(c.node, { dir = made.dir })
        scratch.remove(c.node, { dir = made.dir })
        return { backup = made.backup, seconds = started.seconds, lsn = started.lsn, failures = seen.failures }
      end,
      undo = function(c) scratch.sweep(c.node, { kind = "drill" }) end, repeatable = true },

    step { "note", undo = false, run = function(c)
      local found = c.results.recover
      drill.note(c.node, {
        ok = #found.failures == 0, why = found.failures[1], seconds = found.seconds,
        backup = found.backup, lsn = found.lsn,
      })
    end, repeatable = true },

    step { "verdict", undo = false, run = function(c)
      local failures = c.results.recover.failures
      for _, failure in ipairs(failures) do say("%s", failure) end
      if #failures > 0 then
        fail { string.format("the recovered server is not as it should be (%d findings), the first: %s", #failures, failures[1]),
          hint = "look at it yourself: warmrun restoreTo" }
      end
      say("The recovery works, and takes %.1f s", c.results.recover.seconds)
    end, repeatable = true },
  },
}
