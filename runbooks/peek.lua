-- peek: look at the data as it was. A server beside everything else recovers from
-- a base copy to just before a time, pauses there, and answers queries,
-- read-only. The standby, the relay and the archive take no notice.
--
--   warmrun peek --before 2024-05-01T12:00:00Z              leaves it open
--   warmrun peek --before 2024-05-01T12:00:00Z --psql       opens psql, and closes it with that
--   warmrun peek --before 2024-05-01T12:00:00Z --query SQL  answers, and closes it
--   warmrun peek list
--   warmrun peek close ID                                   or all of them without ID

-- open is the peeks that are asked for: that of --id, or all.
local function open(c)
  local found = {}
  for _, one in ipairs(scratch.list(c.node, { kind = "peek" })) do
    if c.params.id == nil or one.id == c.params.id then table.insert(found, one) end
  end
  if c.params.id and #found == 0 then
    fail { "no peek " .. c.params.id .. " is open on " .. c.node, hint = "warmrun peek list shows those that are" }
  end
  return found
end

return runbook {
  api = 1,
  name = "peek",
  summary = "Look at the data as it was at a time, read-only, beside everything else",
  runs_on = "any",
  lock = "node",
  lock_unless = "list",

  params = {
    before = param.time { help = "show the data as it was just before this time" },
    query = param.string { help = "print the rows of this statement as psql -At does, and close it again" },
    psql = param.boolean { default = false, help = "open psql on it, and close it when psql ends" },
    database = param.string { help = "where psql begins, or the statement runs (default: the node's database)" },
    timeline = param.integer { help = "look along this timeline (default: the newest in the archive)" },
    backup = param.string { help = "begin with this base copy (default: the newest that will do)" },
    shared_buffers = param.string { default = "128MB", help = "shared_buffers of the server, which runs beside this node's own" },
    timeout = param.duration { default = "24h", help = "how long the recovery may take" },
    list = param.boolean { default = false, help = "list those that are open" },
    close = param.boolean { default = false, help = "close those that are open, or the one of an ID" },
    id = param.string { bare = true, help = "the ID of the one to close or list, as list shows it" },
  },

  checks = {
    check { "one thing is asked for", function(c)
      local asked = (c.params.list and 1 or 0) + (c.params.close and 1 or 0) + (c.params.before and 1 or 0)
      if c.params.psql and c.params.query then return false, "give --psql or --query, not both" end
      return asked == 1 and not (c.params.before and c.params.id), "give --before TIME, or one of the words list and close"
    end },
    check { "psql is there where it is asked for", function(c)
      return not c.params.psql or scratch.has_psql(c.node)
    end },
    check { "a base copy and the WAL in the archive lead to the time", function(c)
      if c.params.before then
        scratch.reach(c.node, { time = c.params.before, exclusive = true, timeline = c.params.timeline, backup = c.params.backup })
      end
      return true
    end },
  },

  steps = {
    step { "list", undo = false, when = function(c) return c.params.list end, run = function(c)
      local found = open(c)
      if #found == 0 then say("No peek is open on %s", c.node) end
      for _, one in ipairs(found) do
        say("%s  as of %s  %s", one.id, one.target, one.running and one.connection or "not running: warmrun peek close " .. one.id)
      end
    end, repeatable = true },

    step { "close", undo = false, timeout = "1h", when = function(c) return c.params.close end, run = function(c)
      for _, one in ipairs(open(c)) do
        scratch.remove(c.node, { dir = one.dir })
        say("Closed %s", one.id)
      end
    end, repeatable = true },

    -- One step: until it stays, the server goes with the program that has made it, so
    -- a run that is gone on with makes another.
    step { "open", timeout = "168h", when = function(c) return c.params.before ~= nil end,
      run = function(c)
        scratch.sweep(c.node, { kind = "peek" })
        local made = scratch.make(c.node, {
          kind = "peek", time = c.params.before, exclusive = true, timeline = c.params.timeline,
          backup = c.params.backup, shared_buffers = c.params.shared_buffers,
        })
        local started = scratch.start(c.node, { dir = made.dir, timeout = c.params.timeout })
        say("The data as it was before %s: %s", c.params.before, started.text)
        if c.params.query then
          say("%s", scratch.query(c.node, { dir = made.dir, sql = c.params.query, database = c.params.database }).text)
          scratch.remove(c.node, { dir = made.dir })
        elseif c.params.psql then
          scratch.psql(c.node, { dir = made.dir, database = c.params.database })
          scratch.remove(c.node, { dir = made.dir })
          say("Closed %s", made.id)
        else
          scratch.stay(c.node, { dir = made.dir })
          say("Look at it with: %s", started.connection)
          say("Close it with: warmrun peek close %s", made.id)
        end
      end,
      -- Those that are open and stay are not swept.
      undo = function(c) scratch.sweep(c.node, { kind = "peek" }) end, repeatable = true },
  },
}
