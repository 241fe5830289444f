-- The node that accepts writes, whichever it is. A node that cannot be asked is
-- passed over.
return function(c)
  local nodes = cluster.others(c.node)
  table.insert(nodes, 1, c.node)
  for _, node in ipairs(nodes) do
    local ok, is = pcall(cluster.is_primary, node)
    if ok and is then return node end
  end
  fail { "no node that answers runs as the primary", hint = "look at: warmrun status" }
end
