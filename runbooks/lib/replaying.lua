-- The check that the server here is a standby, which pauseReplay, resumeReplay and
-- delayReplay begin with.
return check { "the server here is a standby that answers queries", function(c)
  return psql.in_recovery(c.node), c.node .. " is not in recovery: it replays nothing"
end }
