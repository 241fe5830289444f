-- distrib: bring warmrun and the site's global files to every other node. The
-- other nodes need nothing but sshd and a PostgreSQL server.

return runbook {
  api = 1,
  name = "distrib",
  summary = "Copy the program and the site's global files to the other nodes",
  runs_on = "any",
  lock = "cluster",
  next = "configStandby, on the standby",

  checks = {
    check { "there is another node", function(c)
      return #cluster.others(c.node) > 0, "this site names no other node"
    end },
  },

  steps = {
    step { "here", undo = false, run = function(c) cluster.install_here(c.node) end, repeatable = true },
    step { "there", undo = false, timeout = "1h", run = function(c)
      on_nodes(cluster.others(c.node), cluster.distribute)
    end, repeatable = true },
  },
}
