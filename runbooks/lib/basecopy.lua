-- The base copy, as copyToStandby and copyToDR share it.
local basecopy = {}

-- checks are made before anything changes; target names the node copied to.
function basecopy.checks(target)
  return {
    check { "the node is a primary that accepts writes", function(c)
      return psql.in_recovery(c.node) == false, c.node .. " is in recovery: base copies are taken from the primary"
    end },
    check { "the server archives", function(c)
      archive.check_command(c.node)
      return true
    end },
    check { "the archive on the other side exists and takes this cluster's WAL", function(c)
      archive.check(target(c), { source = c.node })
      return true
    end },
    check { "the other side runs no server, and was no primary", function(c)
      copy.receivable(target(c))
      return true
    end },
    check { "with --start, the server on the other side can be started", function(c)
      return not c.params.start or pg_ctl.may_control(target(c))
    end },
  }
end

function basecopy.copy(target)
  return step { "copy", undo = false, timeout = "168h", run = function(c)
    return copy.base(c.node, {
      to = target(c), fast = c.params.fast, streams = c.params.streams, max_rate = c.params.max_rate,
      compress = c.params.compress, verbose = c.params.verbose,
      allow_bad_pages = c.params.allow_bad_pages,
    })
  end, repeatable = true }
end

-- verify comes before configure, which changes files of the copy.
function basecopy.verify(target)
  return step { "verify", undo = false, timeout = "168h", when = function(c) return c.params.verify end, run = function(c)
    local report = copy.verify(target(c), {})
    say("%d files on %s are as they were copied", report.files, target(c))
  end, repeatable = true }
end

-- wal waits for all WAL that the copy needs: without any one segment of it the
-- copy cannot be started.
function basecopy.wal(c, node)
  archive.wait(node, { from = c.results.copy.start_segment, segment = c.results.copy.stop_segment, timeout = c.params.wal_timeout })
end

function basecopy.configure(target)
  return step { "configure", undo = false, run = function(c)
    standby.configure(target(c), {})
    say("%s is a standby now; its archive has all WAL that the copy needs", target(c))
  end, repeatable = true }
end

function basecopy.start(target)
  return step { "start", when = function(c) return c.params.start end,
    run = function(c)
      standby.slot(c.node, { standby = target(c) })
      pg_ctl.start(target(c))
      say("Standby server on %s started", target(c))
    end,
    -- A copy that was called off gets no more WAL: its server would wait for ever.
    undo = function(c) pg_ctl.stop(target(c)) end,
    repeatable = true }
end

function basecopy.params()
  return {
    start = param.boolean { default = false, help = "start the server there as a standby when the copy is complete" },
    fast = param.boolean { default = true, help = "begin with an immediate checkpoint instead of a spread one" },
    streams = param.integer { default = 4, help = "how many streams copy at once" },
    max_rate = param.size { default = "0", help = "bytes a second that the copy may take from the network, such as 50MB (0: all it can get)" },
    compress = param.choice { choices = { "none", "s2", "zstd" }, default = "s2", help = "how the copy is packed on the wire" },
    allow_bad_pages = param.boolean { default = false, help = "copy pages whose checksum is wrong as they are, and list them, instead of failing" },
    verify = param.boolean { default = false, help = "read the whole copy there, and compare it with its backup manifest" },
    verbose = param.boolean { default = false, help = "print the name of every file that is copied or deleted" },
    wal_timeout = param.duration { default = "10m", help = "how long the copy's last WAL may take to reach the archive there" },
  }
end

return basecopy
