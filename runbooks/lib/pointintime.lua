-- Where a recovery is to stop, as restoreTo, peek and drill share it.
local pointintime = {}

-- target is the options of scratch.reach and scratch.make; of the parameters that
-- a runbook does not have, none is given.
function pointintime.target(c)
  local p = c.params
  return {
    time = p.time, lsn = p.lsn, xid = p.xid, name = p.name,
    exclusive = p.exclusive, timeline = p.timeline, backup = p.backup,
  }
end

return pointintime
