-- PDK calls that external plugins make over their socket.
local state = require "shim.state"
local py = state.py
local M = {}

-- A PDK call of an external plugin, under its request. The plugin's own coroutine is suspended meanwhile. The function
-- may wait (for a socket, a semaphore): the driver awaits that and resumes it.
local methods = {
  ["kong.ctx.shared.get"] = function(k) return kong.ctx.shared[k] end,
  ["kong.ctx.shared.set"] = function(k, v) kong.ctx.shared[k] = v end,
  ["kong.log.serialize"] = function() return (py.json_encode(kong.log.serialize())) end,
}
local function find(name)
  local at = _G
  for part in name:gmatch("[^.]+") do
    if type(at) ~= "table" then return nil end
    at = at[part]
  end
  return at
end

function M.call_pdk(r, plugin_name, conf, name, args, n)
  state.cur = r
  local method = methods[name]
  if not method then
    if name:sub(1, 5) == "kong." then method = find(name) end
    if not method then
      kong.log.err("could not find pdk method: ", name)
      return "missing"
    end
    methods[name] = method
  end
  r.called = coroutine.create(method)
  return M.resume_pdk(r, unpack(args, 1, n))
end

local function ended(r, ok, result, ...)
  if not ok then return "raise", tostring(result) end
  if coroutine.status(r.called) ~= "dead" then
    -- a yield ends the event for good; that of an exit also answers the client
    if result == nil then return "left" end
    if result == state.EXIT then return "exit" end
    return "wait", result, ...
  end
  if type(result) == "function" then
    -- Kong's packer calls it with its buffer (kong/runloop/plugin_servers/rpc/mp_rpc.lua)
    local buffer = {}
    result(buffer)
    return "packed", table.concat(buffer)
  end
  return "ok", result
end

-- Go on with the function, with what it has waited for.
function M.resume_pdk(r, ...)
  state.cur = r
  return ended(r, coroutine.resume(r.called, ...))
end

return M
