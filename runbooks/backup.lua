-- backup: take a base copy of the primary that is kept on this node, for
-- recoveries to a point in time, drills and looks at the past. Made for cron, on
-- the node that keeps the copies, as a rule the DR node. The WAL that the
-- copies need stays in this node's archive as long as they do; which of them stay,
-- [backup] in cluster.toml says.

local primary = require "primary"
local relayed = require "relayed"

return runbook {
  api = 1,
  name = "backup",
  summary = "Take a base copy of the primary that is kept on this node",
  runs_on = "any",
  lock = "node",

  params = {
    seed = param.boolean { default = true, help = "begin with what the newest copy here has, and send only what differs" },
    fast = param.boolean { default = true, help = "begin with an immediate checkpoint instead of a spread one" },
    streams = param.integer { help = "how many streams copy at once (default: 4, or 2 or 3 on a machine of so few processors)" },
    max_rate = param.size { default = "0", help = "bytes a second that the copy may take from the network, such as 50MB (0: all it can get)" },
    compress = param.choice { choices = { "none", "s2", "zstd" }, default = "s2", help = "how the copy is packed on the wire" },
    allow_bad_pages = param.boolean { default = false, help = "copy pages whose checksum is wrong as they are, and list them, instead of failing" },
    verify = param.boolean { default = false, help = "read the whole copy, and compare it with its backup manifest" },
    wal_timeout = param.duration { default = "10m", help = "how long the copy's last WAL may take to reach the archive here" },
  },

  checks = {
    check { "a node runs as the primary, and archives", function(c)
      archive.check_command(primary(c))
      return true
    end },
    check { "the archive here takes this cluster's WAL", function(c)
      archive.check(c.node, { source = primary(c) })
      return true
    end },
  },

  steps = {
    step { "begin", timeout = "24h",
      run = function(c)
        local source = primary(c)
        backup.sweep(c.node)
        if not archive.active(source) then
          fail { "archiving is not active on " .. source, hint = "run copyToStandby first: the base copy needs the WAL that is written meanwhile" }
        end
        local now = pg_ctl.control(source)
        local begun = backup.begin(c.node, {
          source = source, seed = c.params.seed, system_identifier = now.system_identifier,
          redo = now.redo, timeline = now.timeline, segment_size = now.segment_size,
        })
        say("Keeping a base copy of %s in %s", source, begun.dir)
        return { id = begun.id, primary = source }
      end,
      undo = function(c) if c.results.begin then backup.discard(c.node, { id = c.results.begin.id }) end end, repeatable = true },

    step { "copy", undo = false, timeout = "168h", run = function(c)
      return backup.take(c.results.begin.primary, {
        to = c.node, id = c.results.begin.id, fast = c.params.fast, streams = c.params.streams, max_rate = c.params.max_rate,
        compress = c.params.compress, allow_bad_pages = c.params.allow_bad_pages,
      })
    end, repeatable = true },

    step { "wal", undo = false, timeout = "168h", run = function(c)
      local taken = c.results.copy
      relayed(c, c.results.begin.primary, { segment = taken.stop_segment, timeout = c.params.wal_timeout })
      archive.wait(c.node, { from = taken.start_segment, segment = taken.stop_segment, timeout = c.params.wal_timeout })
    end, repeatable = true },

    step { "complete", undo = false, run = function(c)
      local taken = c.results.copy
      backup.complete(c.node, {
        id = c.results.begin.id, version = taken.version, bytes = taken.bytes, finished = taken.finished, timeline = taken.timeline,
        start_lsn = taken.start_lsn, stop_lsn = taken.stop_lsn, start_segment = taken.start_segment, stop_segment = taken.stop_segment,
      })
      say("The base copy %s is complete: this node can recover to any time from %s on", c.results.begin.id, taken.finished)
    end, repeatable = true },

    -- A copy that is damaged stays, and does not count: nothing older is removed for it.
    step { "verify", undo = false, timeout = "168h", when = function(c) return c.params.verify end, run = function(c)
      backup.verify(c.node, { id = c.results.begin.id })
    end, repeatable = true },

    step { "retention", undo = false, timeout = "24h", run = function(c) return backup.expire(c.node) end, repeatable = true },
  },
}
