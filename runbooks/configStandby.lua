-- configStandby: make this node ready to receive a base copy and WAL. Run it on
-- the new standby or DR node.
--
-- It aborts on a node that runs a server or that was a primary, because it
-- clears pg_wal: with --erase a former primary's data may be given up.

return runbook {
  api = 1,
  name = "configStandby",
  summary = "Prepare this node to become a standby: configuration, archive, no trigger, an empty pg_wal",
  runs_on = "any",
  lock = "cluster",
  next = "copyToStandby, on the primary",

  params = {
    erase = param.boolean { default = false, help = "this node was a primary; its WAL may be erased" },
  },

  checks = {
    check { "this node may become a standby", function(c)
      standby.preparable(c.node, { erase = c.params.erase })
      return true
    end },
  },

  steps = {
    step { "prepare", undo = false, run = function(c)
      local ready = standby.prepare(c.node, { erase = c.params.erase })
      say("Standby system is ready, shipped archives will appear in %s", ready.archive)
      return ready
    end, repeatable = true },
  },
}
