-- Put the relay to the DR node into cron, on both nodes of the pair
--
-- rsyncDR does nothing on the primary and refuses to overlap with itself, so
-- the same line stands on both nodes. Again, it changes nothing; with --remove it
-- takes the line away.

return runbook {
  api = 1,
  name = "cronDR",
  summary = "Put the relay to the DR node into cron, on both nodes of the pair",
  runs_on = "pair",
  lock = "node",

  params = {
    when = param.string { default = "* * * * *", help = "when it runs, in cron's five fields" },
    remove = param.boolean { default = false, help = "take the line away" },
  },

  checks = {
    check { "there is a DR node", function(c) return c.dr ~= nil, "cluster.toml names no node with role dr" end },
  },

  steps = {
    step { "cron",
      run = function(c)
        local before = {}
        for _, node in ipairs({ c.node, c.partner }) do
          local own = cluster.node(node)
          local line = string.format("%s %s/bin/warmrun --home %s rsyncDR", c.params.when, own.home, own.home)
          if c.params.remove then line = "" end
          before[node] = cron.set(node, { name = "rsyncDR", line = line }).before
          say("%s: %s", node, line ~= "" and line or "no line for rsyncDR")
        end
        return before
      end,
      undo = function(c)
        for node, line in pairs(c.results.cron or {}) do cron.set(node, { name = "rsyncDR", line = line }) end
      end },
  },
}
