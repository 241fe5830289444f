-- copyToStandby: take a base copy of this primary onto its standby. Run it on
-- the primary, after configStandby on the standby.

local basecopy = require "basecopy"
local target = function(c) return c.partner end

return runbook {
  api = 1,
  name = "copyToStandby",
  summary = "Copy this primary onto its standby and start shipping WAL there",
  runs_on = "primary",
  lock = "cluster",
  next = "pg_ctl start, on the standby",

  params = basecopy.params(),
  checks = basecopy.checks(target),

  steps = {
    step { "archiving",
      run = function(c)
        say("Copying %s to %s", cluster.node(c.node).pgdata, c.partner)
        local was = archive.set_active(c.node, { active = true })
        say("archiving_active written at %s", was.lsn)
        return was
      end,
      undo = function(c)
        if not c.results.archiving or not c.results.archiving.was then
          archive.set_active(c.node, { active = false })
        end
      end,
      repeatable = true,
    },

    basecopy.copy(target),
    basecopy.verify(target),

    step { "wal", undo = false, timeout = "168h", run = function(c)
      -- A history that was written while archiving was not active is here only.
      archive.pull(target(c), { from = c.node, histories = true })
      basecopy.wal(c, target(c))
    end, repeatable = true },

    basecopy.configure(target),
    basecopy.start(target),
  },
}
