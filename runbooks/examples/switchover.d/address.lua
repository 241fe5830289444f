-- Move a virtual IP address from the old primary to the new one
--
-- It leaves the old primary when that is stopped, and comes to the new one when
-- that accepts writes; a run that fails puts it back. The account needs sudo for
-- ip and arping, without a password.

local function ip(c, what)
  return string.format("sudo -n ip address %s %s dev %s", what, c.params.address, c.params.device)
end

-- has reports whether a node has the address now.
local function has(c, node)
  return shell.read(node, string.format("ip -o address show dev %s to %s", c.params.device, c.params.address)) ~= ""
end

return extension {
  api = 1,
  extends = "switchover",
  summary = "Move a virtual IP address from the old primary to the new one",

  params = {
    address = param.string { required = true, help = "the address with its prefix length, such as 192.0.2.10/24" },
    device = param.string { default = "eth0", help = "the network device, the same on both nodes" },
  },

  checks = {
    check { "the primary has the address", function(c)
      local pair = cluster.pair()
      return has(c, pair.primary), string.format("%s does not have %s on %s", pair.primary, c.params.address, c.params.device)
    end },
  },

  after = {
    flush = step { "take the address away", on_error = "fail",
      run = function(c) shell.run(c.results.roles.primary, ip(c, "del")) end,
      undo = function(c)
        if not has(c, c.results.roles.primary) then shell.run(c.results.roles.primary, ip(c, "add")) end
      end },
    promote = step { "bring the address", undo = false, retries = 3, delay = "1s", run = function(c)
      local primary = c.results.roles.standby
      if not has(c, primary) then shell.run(primary, ip(c, "add")) end
      -- Neighbours must forget where the address was.
      local bare = c.params.address:match("^[^/]+")
      shell.run(primary, string.format("sudo -n arping -c 3 -A -I %s %s", c.params.device, bare))
    end },
  },
}
