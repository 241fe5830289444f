return test {
  runbook = "copyToDR",
  answers = {
    ["psql.in_recovery"] = false,
    ["archive.check"] = true,
    ["archive.check_command"] = {},
    ["archive.active"] = true,
    ["archive.wait"] = {},
    ["pg_ctl.may_control"] = true,
    ["cluster.node"] = { pgdata = "/srv/data" },
    ["copy.base"] = { start_segment = "000000010000000000000003", stop_segment = "000000010000000000000004" },
    ["copy.verify"] = { files = 7 },
  },

  case { "the whole way", params = { start = true, verify = true, max_rate = "50MB" }, sweep = true,
    calls = { "archive.active db1", "copy.base db1 {compress=s2, fast=true, max_rate=52428800, streams=4, to=dr}", "copy.verify dr", "archive.wait db2", "relay.run db2 {to=dr}",
      "archive.wait dr", "standby.configure dr", "pg_ctl.start dr" } },

  case { "without a standby", vars = { partner = false }, fails = "no standby is configured", never = { "copy.base" } },

  case { "the standby has no archive", answers = { ["archive.check"] = function(node)
    if node == "db2" then return fails "there is no archive on db2" end
    return true
  end }, fails = "there is no archive on db2", never = { "copy.base" } },

  case { "archiving is off", answers = { ["archive.active"] = false }, fails = "archiving is not active on db1", hint = "copyToStandby first",
    never = { "copy.base" } },

  case { "the DR node's server could not be started", params = { start = true }, answers = { ["pg_ctl.may_control"] = false },
    fails = "can be started", never = { "copy.base" } },
}
