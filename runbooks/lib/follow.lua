-- The old primary follows the new one after a clean switchover: its server
-- starts as a standby, replays onto the new timeline, and needs neither
-- pg_rewind nor a new base copy.
local follow = {}

function follow.rejoin(old, new)
  local now = standby.opened(new)
  archive.wait(old, { history = now.timeline, timeout = "5m" })
  pg_ctl.start(old)
  local switched = archive.switch(new)
  standby.follows(old, { lsn = switched.lsn, timeout = "10m" })
  say("%s follows %s on timeline %d, without a rewind or a new copy", old, new, now.timeline)
end

return follow
