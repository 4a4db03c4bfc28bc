-- ngx.shared.NAME: one process, so a table will do. Seconds to live are kept.
local state = require "shim.state"
local M = {}
M.__index = M

function M.new() return setmetatable({ items = {} }, M) end

local function live(self, key)
  local item = self.items[key]
  if item and item.expires and item.expires <= state.py.now() then
    self.items[key] = nil
    return nil
  end
  return item
end

function M:get(key)
  local item = live(self, key)
  if item then return item.value, item.flags end
end
M.get_stale = M.get

function M:set(key, value, ttl, flags)
  if value == nil then
    self.items[key] = nil
  else
    self.items[key] = { value = value, flags = flags, expires = ttl and ttl > 0 and state.py.now() + ttl or nil }
  end
  return true, nil, false
end
M.safe_set = M.set

function M:add(key, value, ttl, flags)
  if live(self, key) then return false, "exists", false end
  return self:set(key, value, ttl, flags)
end
M.safe_add = M.add

function M:replace(key, value, ttl, flags)
  if not live(self, key) then return false, "not found", false end
  return self:set(key, value, ttl, flags)
end

function M:incr(key, by, init, ttl)
  local item = live(self, key)
  if not item then
    if init == nil then return nil, "not found" end
    self:set(key, init + by, ttl)
    return init + by
  end
  if type(item.value) ~= "number" then return nil, "not a number" end
  item.value = item.value + by
  return item.value
end

function M:delete(key) self.items[key] = nil end
function M:flush_all() self.items = {} end
function M:flush_expired() return 0 end
function M:get_keys()
  local keys = {}
  for key in pairs(self.items) do
    if live(self, key) then keys[#keys + 1] = key end
  end
  return keys
end
function M:ttl(key)
  local item = live(self, key)
  if not item then return nil, "not found" end
  return item.expires and item.expires - state.py.now() or 0
end

return M
