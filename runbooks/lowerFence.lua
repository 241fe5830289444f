-- lowerFence: take back a fence that a change of state has left behind. A
-- switchover or failover that was called off before its promotion lowers its
-- fence itself, but not in an archive that it could not reach, nor when it was
-- killed. From then on that archive refuses what the primary writes.
--
-- Run it on the primary that the fence stands against, running or stopped. It
-- refuses where any node was promoted: the fence is right then.

return runbook {
  api = 1,
  name = "lowerFence",
  summary = "Take back the fence that a called-off switchover or failover has left, if nobody was promoted",
  runs_on = "any",
  lock = "cluster",

  params = {
    accept_split = param.boolean { default = false, help = "lower it although a node cannot be asked and may have been promoted" },
  },

  checks = {
    check { "nobody was promoted, and nobody is about to be", function(c)
      fence.left(c.node, { accept_split = c.params.accept_split })
      return true
    end },
  },

  steps = {
    step { "lower", undo = false, run = function(c)
      local left = fence.take_back(c.node, { accept_split = c.params.accept_split })
      if #left.cuts == 0 then
        say("No archive that could be asked is fenced against %s", c.node)
      end
      return left
    end, repeatable = true },
  },
}
