return test {
  runbook = "cronDR",
  answers = {
    ["cluster.node"] = { home = "/srv/warmrun" },
    ["cron.set"] = { before = "" },
  },

  case { "a line on both nodes", sweep = true, says = { "db1: * * * * * /srv/warmrun/bin/warmrun --home /srv/warmrun rsyncDR", "db2: * * * * * " },
    plan = { "put into the crontab on db1, as rsyncDR: * * * * * /srv/warmrun/bin/warmrun" } },
  case { "another time", params = { when = "*/5 * * * *" }, says = { "db1: */5 * * * * /srv/warmrun/bin/warmrun" } },
  case { "taken away", params = { remove = true }, says = { "db2: no line for rsyncDR" },
    expect = function(run) assert(run.calls[2].args[2].line == "", run.calls[2].text) end },
  case { "without a DR node", vars = { dr = false }, fails = "names no node with role dr", never = { "cron.set" } },
  case { "the second node has no cron", answers = { ["cron.set"] = each { { before = "old" }, fails "crontab: not found" } }, fails = "not found", undone = { "cron" } },
}
