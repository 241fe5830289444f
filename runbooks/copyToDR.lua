-- copyToDR: take a base copy of this primary onto the disaster recovery node.
-- The WAL that the copy needs reaches the DR node through the relay on the
-- standby.

local basecopy = require "basecopy"
local target = function(c) return c.dr end

local checks = basecopy.checks(target)
table.insert(checks, check { "there is a standby, whose archive takes this cluster's WAL", function(c)
  if not c.partner then
    return false, "no standby is configured: give one to cluster.toml, and run copyToStandby first"
  end
  archive.check(c.partner, { source = c.node })
  return true
end })

return runbook {
  api = 1,
  name = "copyToDR",
  summary = "Copy this primary onto the disaster recovery node",
  runs_on = "primary",
  lock = "cluster",
  next = "rsyncDR from cron, on the standby",

  params = basecopy.params(),
  checks = checks,

  steps = {
    step { "archiving", run = function(c)
      if not archive.active(c.node) then
        fail { "archiving is not active on " .. c.node, hint = "run copyToStandby first: the DR node gets its WAL through the standby" }
      end
      say("Copying %s to %s", cluster.node(c.node).pgdata, c.dr)
    end },

    basecopy.copy(target),
    basecopy.verify(target),

    step { "wal", undo = false, timeout = "168h", run = function(c)
      archive.wait(c.partner, { segment = c.results.copy.stop_segment, timeout = c.params.wal_timeout })
      relay.run(c.partner, { to = c.dr })
      basecopy.wal(c, c.dr)
    end, repeatable = true },

    basecopy.configure(target),
    basecopy.start(target),
  },
}
