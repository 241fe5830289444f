-- What a promotion that has failed leaves behind, and what to type about it.
local left = {}

-- fenced is for the step that has made stopped old primaries unable to start as
-- primaries: that is never taken back by itself, because nobody can tell what
-- else had begun.
function left.fenced(step)
  return function(c)
    local done = c.results[step]
    if done == nil then return "an old primary may have been fenced: warmrun status shows it, and warmrun startPrimary on it takes that back" end
    if #done.fenced == 0 then return nil end
    local list = table.concat(done.fenced, ", ")
    return list .. " stays fenced and would start only as a standby: repeat this when the cause is mended, or give the promotion up with warmrun startPrimary on " .. list
  end
end

-- started is for the step that has started the standby's server.
function left.started(c)
  return "the server on " .. c.node .. " was started and runs as a standby"
end

return left
