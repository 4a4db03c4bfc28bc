--- kgate-facts: collects what the filters may know of a request, before the gate plugins run (global only).

local guard = require "kong.plugins.kgate.guard"
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

return Facts
