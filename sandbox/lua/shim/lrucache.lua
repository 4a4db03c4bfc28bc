-- resty.lrucache, the part in use: get, set (with seconds to live), delete, flush_all, count.
local state = require "shim.state"
local M = {}
M.__index = M

function M.new(size)
  if size < 1 then return nil, "size too small" end
  return setmetatable({ size = size, tick = 0, n = 0, items = {} }, M)
end

function M:get(key)
  local item = self.items[key]
  if not item then return nil end
  self.tick = self.tick + 1
  item.used = self.tick
  if item.expires and item.expires <= state.py.now() then return nil, item.value, 0 end
  return item.value, nil, 0
end

function M:set(key, value, ttl)
  if not self.items[key] then
    if self.n >= self.size then
      local oldest, used
      for k, item in pairs(self.items) do
        if not used or item.used < used then oldest, used = k, item.used end
      end
      self.items[oldest] = nil
      self.n = self.n - 1
    end
    self.n = self.n + 1
  end
  self.tick = self.tick + 1
  self.items[key] = { value = value, used = self.tick, expires = ttl and state.py.now() + ttl }
end

function M:delete(key)
  if self.items[key] then self.items[key], self.n = nil, self.n - 1 end
end
function M:flush_all() self.items, self.n = {}, 0 end
function M:count() return self.n end
function M:capacity() return self.size end

return M
