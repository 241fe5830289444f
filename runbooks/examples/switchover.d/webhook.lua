-- Post to a webhook how the switchover has ended
--
-- The address of a webhook is a secret: it is read from a file that only this
-- account can read, and is in no output and no journal. Where that is missing, check
-- says so, and a run goes on and tells that nothing was posted. For failover, copy
-- this file to failover.d and write failover for switchover.

return extension {
  api = 1,
  extends = "switchover",
  summary = "Post to a webhook how the switchover has ended",

  params = {
    webhook = param.secret { default = "global/webhook.url", help = "the webhook's address" },
  },

  finally = {
    step { "post to the webhook", timeout = "30s", run = function(c)
      local text = string.format("%s on %s: %s", c.name, c.node, c.outcome)
      if c.error then text = text .. ", " .. c.error end
      http.post(c.params.webhook, { json = { text = text } })
    end },
  },
}
