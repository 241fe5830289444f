-- rsyncDR: relay what this standby has received to the disaster recovery node.
-- Made for cron: it refuses to overlap with itself, does nothing on a primary,
-- and fails loudly when the DR node lacks a segment. While the DR node is the
-- primary, which ships to one node of the pair alone, that one relays to the other.

-- leads tells whether the DR node is the primary, as far as it can be asked.
local function leads(c)
  local ok, is = pcall(cluster.is_primary, c.dr)
  return ok and is
end

return runbook {
  api = 1,
  name = "rsyncDR",
  summary = "Relay the WAL this standby has received to the disaster recovery node",
  runs_on = "any",
  lock = "node",

  steps = {
    step { "relay", undo = false, timeout = "24h", run = function(c)
      if not c.dr then
        say("No disaster recovery node is configured; nothing to relay")
      elseif c.dr == c.node then
        say("%s is the disaster recovery node itself; rsyncDR runs on the standby", c.node)
      elseif cluster.is_primary(c.node) then
        say("%s is the primary; rsyncDR runs on the standby and does nothing here", c.node)
      elseif c.partner and leads(c) then
        return relay.run(c.node, { to = c.partner })
      else
        return relay.run(c.node, { to = c.dr })
      end
    end, repeatable = true },
  },
}
