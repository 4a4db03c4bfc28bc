--- kgate-facts: collects what the filters may know of a request, before the gate plugins run (global only).
--
-- In the pdk lane alone: in the express lane the gate plugins take no facts, and kgate (1900) does it all. Kong pays
-- for each plugin that has a handler for a phase.

local guard = require "kong.plugins.kgate.guard"
local lane = require "kong.plugins.kgate.lane"
local const = require "kong.plugins.kgate.const"

local pcall = pcall
local kong = kong

local Facts = { PRIORITY = 1906, VERSION = const.VERSION }

function Facts:access(conf)
  local ok, status, body, headers = pcall(guard.collect, conf)
  if not ok then
    kong.log.err("kgate-facts: access: ", status)
    status, body, headers = guard.broken()
  end
  if status then
    return kong.response.exit(status, body, headers)
  end
end

if lane.is_express() then
  Facts.access = nil
end

return Facts
