-- Every night: could this cluster be restored from its archives?
--
-- A segment is ended on the primary and must arrive and be replayed; then every
-- record of the whole archive is read. Run it from cron on the standby:
--
--   30 2 * * *  /var/lib/pgsql/warmrun/bin/warmrun --home /var/lib/pgsql/warmrun restoreCheck

return runbook {
  api = 1,
  name = "restoreCheck",
  summary = "Prove that WAL arrives, is replayed, and is whole in the archive",
  runs_on = "standby",
  lock = "node",

  params = {
    wait = param.duration { default = "5m", help = "how long a segment may take from the primary to its replay here" },
  },

  checks = {
    check { "this standby runs and follows the primary", function(c)
      local descent = standby.follows_primary(c.node, { primary = cluster.pair().primary })
      return descent.ok, descent.reason
    end },
  },

  steps = {
    step { "arrive", undo = false, timeout = "1h", run = function(c)
      local primary = cluster.pair().primary
      local switched = archive.switch(primary)
      standby.follows(c.node, { lsn = switched.lsn, timeout = c.params.wait })
      say("%s has replayed what %s wrote up to %s", c.node, primary, switched.lsn)
    end },

    step { "whole", timeout = "6h", run = function(c)
      local report = archive.verify(c.node)
      if report.findings > 0 then
        fail { string.format("the archive of %s has %d findings, the first: %s", c.node, report.findings, report.first),
          hint = "warmrun wal verify on " .. c.node .. " lists them all" }
      end
      say("%s: %d segments and %d records are whole", c.node, report.segments, report.records)
      return report
    end },
  },
}
