-- Pause pgbouncer while primary and standby change places: clients wait instead of failing
--
-- The pools are paused before the primary is stopped and resumed when the new
-- one accepts writes, with the address of the new primary where the pools are
-- told by a file. Whatever becomes of the run, nobody is left waiting.
-- --bouncer is a node of cluster.toml that runs pgbouncer; its account reaches
-- the admin console through the unix socket.

local function console(c, command)
  return string.format("psql -XAtq -h %s -p %d -U pgbouncer pgbouncer -c '%s'", c.params.bouncer_socket, c.params.bouncer_port, command)
end

local function where(c) return c.params.bouncer or c.node end

return extension {
  api = 1,
  extends = "switchover",
  summary = "Pause pgbouncer while primary and standby change places",

  params = {
    bouncer = param.node { help = "the node that runs pgbouncer (default: this one)" },
    bouncer_socket = param.string { default = "/var/run/postgresql", help = "the directory of pgbouncer's unix socket" },
    bouncer_port = param.integer { default = 6432, help = "pgbouncer's port" },
    bouncer_point = param.string { default = "", help = "a command there that points pgbouncer at the new primary, whose host is its last word" },
  },

  checks = {
    check { "pgbouncer's console answers", function(c)
      shell.read(where(c), console(c, "SHOW VERSION"))
      return true
    end, hint = "pgbouncer must run there, and admin_users must name pgbouncer's own account" },
  },

  before = {
    flush = step { "pause pgbouncer", on_error = "fail", timeout = "2m",
      run = function(c) shell.run(where(c), console(c, "PAUSE")) end,
      undo = function(c) shell.run(where(c), console(c, "RESUME")) end },
  },

  after = {
    promote = step { "resume pgbouncer", undo = false, run = function(c)
      if c.params.bouncer_point ~= "" then
        local primary = cluster.node(c.results.roles.standby)
        shell.run(where(c), c.params.bouncer_point .. " " .. primary.host)
        shell.run(where(c), console(c, "RELOAD"))
      end
      shell.run(where(c), console(c, "RESUME"))
    end },
  },
}
