-- A primary ships its WAL to one node, the first of the pair that is not itself, and the
-- node behind that gets it relayed: the DR node, or the last of the pair while the DR
-- node is the primary. For a runbook on such a node: have that relayed now which there
-- is, and not at cron's next run. what is what the first node's archive should have
-- before, as archive.wait takes it; what is not there in time comes some other way, or
-- later, as all does where that node is down.
return function(c, primary, what)
  if c.node == primary then return end
  for _, first in ipairs(cluster.others(primary)) do
    if first == c.node then return end
    if first ~= c.dr then
      pcall(function() archive.wait(first, what) end)
      local ok, why = pcall(function() relay.run(first, { to = c.node }) end)
      if not ok then say("%s has not relayed all: %s", first, why) end
      return
    end
  end
end
