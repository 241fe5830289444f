-- The old primary follows the new one after a clean switchover: its server
-- starts as a standby, replays onto the new timeline, and needs neither
-- pg_rewind nor a new base copy.
local follow = {}

-- point is where the old primary's WAL ends; the new timeline must fork there,
-- or the old primary has WAL that the new one does not.
function follow.rejoin(old, new, point)
  local now = standby.opened(new)
  local fork = standby.forked(new, { timeline = now.timeline })
  if fork.lsn ~= point.end_lsn or fork.parent ~= point.timeline then
    fail { string.format("timeline %d left timeline %d at %s, and the WAL of %s ends at %s on timeline %d", now.timeline, fork.parent, tostring(fork.lsn), old, tostring(point.end_lsn), point.timeline),
      hint = "rebuild it: warmrun switchback --erase --rebuild-only" }
  end
  archive.wait(old, { history = now.timeline, timeout = "5m" })
  pg_ctl.start(old)
  local switched = archive.switch(new)
  standby.follows(old, { lsn = switched.lsn, timeout = "10m" })
  say("%s follows %s on timeline %d, without a rewind or a new copy", old, new, now.timeline)
end

return follow
