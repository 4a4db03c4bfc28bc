-- ngx.shared.NAME: kept outside the Lua states, since the workers of a node share it.
local state = require "shim.state"
local M = {}

local METHODS = {
  "get", "set", "add", "replace", "incr", "delete", "flush_all", "flush_expired", "ttl",
}
for _, name in ipairs(METHODS) do
  M[name] = function(self, ...) return state.py.shm(self.name, name, ...) end
end
M.get_stale, M.safe_set, M.safe_add = M.get, M.set, M.add
function M.get_keys(self) return { state.py.shm(self.name, "keys") } end
function M.capacity() return 5 * 1024 * 1024 end
function M.free_space() return 5 * 1024 * 1024 end
M.__index = M

function M.new(name) return setmetatable({ name = name }, M) end

return M
