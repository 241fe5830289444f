-- A DR node gets its WAL through the standby. For a runbook on the DR node: have the
-- standby relay now what it has, and not at cron's next run. what is what the archive
-- there should have first, as archive.wait takes it; what is not there in time comes
-- some other way, or later, as all does where the standby is down.
return function(c, primary, what)
  for _, other in ipairs(cluster.others(primary)) do
    if other ~= c.dr then
      pcall(function() archive.wait(other, what) end)
      local ok, why = pcall(function() relay.run(other, { to = c.dr }) end)
      if not ok then say("%s has not relayed all: %s", other, why) end
    end
  end
end
