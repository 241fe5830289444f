return test {
  runbook = "backup",
  answers = {
    ["cluster.others"] = function(node) return node == "dr" and { "db1", "db2" } or { "db2", "dr" } end,
    ["cluster.is_primary"] = each { false, true },
    ["archive.check"] = true,
    ["archive.check_command"] = {},
    ["archive.active"] = true,
    ["archive.wait"] = {},
    ["relay.run"] = {},
    ["pg_ctl.control"] = { system_identifier = 77, redo = lsn("0/30"), timeline = 1, segment_size = 16777216 },
    ["backup.begin"] = { id = "20240501T120000", dir = "/backups/20240501T120000" },
    ["backup.take"] = { start_segment = "000000010000000000000003", stop_segment = "000000010000000000000004", finished = "2024-05-01T12:00:09Z",
      start_lsn = lsn("0/3000028"), stop_lsn = lsn("0/4000100"), timeline = 1, version = 150018, bytes = 7 },
    ["backup.expire"] = { removed = {} },
  },

  case { "the whole way", vars = { node = "dr" }, params = { verify = true }, sweep = true, answers = { ["cluster.is_primary"] = true },
    calls = { "backup.sweep dr", "backup.begin dr", "backup.take dr", "archive.wait dr", "backup.complete dr", "backup.verify dr", "backup.expire dr" },
    says = { "this node can recover to any time from 2024-05-01T12:00:09Z on" } },

  case { "archiving is off", vars = { node = "dr" }, answers = { ["archive.active"] = false, ["cluster.is_primary"] = true }, fails = "archiving is not active on dr", hint = "copyToStandby first",
    never = { "backup.begin" } },

  case { "no primary", vars = { node = "dr" }, answers = { ["cluster.is_primary"] = false }, fails = "no node that answers runs as the primary", never = { "backup.begin" } },

  case { "a node that is down is passed over", vars = { node = "dr" }, answers = { ["cluster.is_primary"] = each { fails "no answer", true } },
    calls = { "backup.begin dr" } },

  case { "the standby is down: the WAL comes some other way", vars = { node = "dr" }, answers = { ["cluster.is_primary"] = each { false, true, false, true, false, true }, ["relay.run"] = fails "db2 is down" },
    calls = { "backup.take db1", "archive.wait dr {from=000000010000000000000003, segment=000000010000000000000004, timeout=10m0s}", "backup.complete dr" },
    says = { "db2 has not relayed all: " } },

  case { "the copy fails", vars = { node = "dr" }, answers = { ["cluster.is_primary"] = true, ["backup.take"] = fails "the disk is full" }, fails = "the disk is full",
    calls = { "backup.discard dr {id=20240501T120000}" }, never = { "backup.complete", "backup.expire" } },
}
