-- restoreTo: recover to a point in time, in a directory of its own, on a node that
-- keeps base copies and has an archive. It proves from the archive that the
-- point is reached before it begins, and leaves an ordinary server that listens
-- on its socket only and archives nothing; what becomes of it is yours to say.

local pointintime = require "pointintime"

return runbook {
  api = 1,
  name = "restoreTo",
  summary = "Recover to a point in time, into a directory of its own on this node",
  runs_on = "any",
  lock = "node",

  params = {
    dir = param.string { required = true, help = "the directory, which is not there yet or empty; the data directory will be data in it" },
    time = param.time { help = "recover to this time, such as 2024-05-01T12:00:00Z" },
    lsn = param.lsn { help = "recover to this LSN" },
    xid = param.integer { help = "recover to the end of this transaction" },
    name = param.string { help = "recover to this restore point (pg_create_restore_point)" },
    exclusive = param.boolean { default = false, help = "stop before what was named, not behind it" },
    timeline = param.integer { help = "recover along this timeline (default: the newest in the archive)" },
    backup = param.string { help = "begin with this base copy (default: the newest that will do)" },
    port = param.integer { help = "the port to listen on (default: one that is free)" },
    listen = param.string { help = "listen_addresses of the server (default: none, only its socket)" },
    timeout = param.duration { default = "168h", help = "how long the recovery may take" },
  },

  checks = {
    check { "the directory is not there yet, or empty", function(c) return scratch.free(c.node, { dir = c.params.dir }) end },
    check { "a base copy and the WAL in the archive lead to the target", function(c)
      scratch.reach(c.node, pointintime.target(c))
      return true
    end },
  },

  steps = {
    step { "copy", timeout = "168h",
      run = function(c)
        local options = pointintime.target(c)
        options.kind, options.dir, options.port, options.listen = "restore", c.params.dir, c.params.port, c.params.listen
        return scratch.make(c.node, options)
      end,
      undo = function(c) scratch.remove(c.node, { dir = c.params.dir }) end, repeatable = true },

    step { "recover", undo = false, timeout = "168h", run = function(c)
      local started = scratch.start(c.node, { dir = c.params.dir, timeout = c.params.timeout })
      say("Recovered to %s: %s", c.results.copy.target, started.text)
      return started
    end, repeatable = true },

    step { "done", undo = false, run = function(c)
      scratch.stay(c.node, { dir = c.params.dir })
      say("The server runs in %s/data and archives nothing. Look at it with: %s", c.params.dir, c.results.recover.connection)
    end, repeatable = true },
  },
}
