-- The old primary follows the new one after a clean switchover: its server
-- starts as a standby, replays onto the new timeline, and needs neither
-- pg_rewind nor a new base copy.
local follow = {}

-- rejoin wants the point where the old primary's WAL ends; the new timeline must
-- fork there, or the old primary has WAL that the new one does not. It returns
-- what shows it.
function follow.rejoin(old, new, point)
  local now = standby.opened(new)
  local fork = standby.forked(new, { timeline = now.timeline })
  if fork.lsn ~= point.end_lsn or fork.parent ~= point.timeline then
    fail { string.format("timeline %d left timeline %d at %s, and the WAL of %s ends at %s on timeline %d", now.timeline, fork.parent, tostring(fork.lsn), old, tostring(point.end_lsn), point.timeline),
      hint = "make it a standby of " .. new .. " all the same: warmrun rejoin on " .. old }
  end
  local last = { segment = point.segment, end_lsn = point.end_lsn }
  local old_hash = standby.hash_end(old, last).sha256
  last.archive = true
  local new_hash = standby.hash_end(new, last).sha256
  if old_hash ~= new_hash then
    fail { string.format("%s is not the same on %s and in the archive on %s, up to %s", tostring(point.segment), old, new, tostring(point.end_lsn)),
      hint = "what " .. new .. " has replayed is not what " .. old .. " wrote: compare the two with warmrun wal before " .. old .. " is started" }
  end
  archive.wait(old, { history = now.timeline, timeout = "5m" })
  standby.slot(new, { standby = old })
  standby.clear_wal(old, { primary = standby.lineage(new) })
  pg_ctl.start(old)
  local switched = archive.switch(new)
  standby.follows(old, { lsn = switched.lsn, timeout = "10m" })
  standby.slot(old, { standby = new, drop = true })
  say("%s follows %s on timeline %d, without a rewind or a new copy", old, new, now.timeline)
  return { timeline = now.timeline, fork = fork.lsn, lsn = switched.lsn, old_hash = old_hash, new_hash = new_hash }
end

return follow
