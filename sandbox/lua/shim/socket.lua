-- ngx.socket.tcp: waits are yields to Python, so many requests share one Lua state.
local state = require "shim.state"
local M = {}
M.__index = M

function M.tcp()
  state.check_may_wait()
  return setmetatable({ handle = state.py.sock_new() }, M)
end

function M.connect_new(host, port, opts)
  local sock = M.tcp()
  local ok, err = sock:connect(host, port, opts)
  if not ok then return nil, err end
  return sock
end

function M:connect(host, port, opts)
  state.check_may_wait()
  if type(port) == "table" then port, opts = nil, port end
  if port ~= nil then port = tonumber(port) end
  local pool = opts and opts.pool
  if state.py.sock_reuse(self.handle, host, port, pool) then return 1 end
  return state.wait("connect", self.handle, host, port, pool)
end

local function flatten(data)
  if type(data) ~= "table" then return tostring(data) end
  local out = {}
  for i, part in ipairs(data) do out[i] = flatten(part) end
  return table.concat(out)
end

function M:send(data)
  state.check_may_wait()
  local sent, err = state.py.sock_send(self.handle, flatten(data))
  if sent then return sent end
  if err then return nil, err end
  return state.wait("flush", self.handle)
end

local function read(self, pattern, n)
  state.check_may_wait()
  local ready, data, err, partial = state.py.sock_read(self.handle, pattern, n)
  if not ready then data, err, partial = state.wait("read", self.handle, pattern, n) end
  if data then return data end
  return nil, err, partial
end

function M:receive(pattern)
  if pattern == nil or pattern == "*l" then return read(self, "l", 0) end
  if pattern == "*a" then return read(self, "a", 0) end
  return read(self, "n", tonumber(pattern))
end

function M:receiveany(max) return read(self, "any", max) end

-- receiveuntil(boundary): one iterator; only whole parts, as the adapter's kind of protocol needs.
function M:receiveuntil(boundary)
  return function() return read(self, "until:" .. boundary, 0) end
end

function M:settimeout(ms) state.py.sock_timeouts(self.handle, ms, ms, ms) end
function M:settimeouts(connect, send, receive) state.py.sock_timeouts(self.handle, connect, send, receive) end
function M:setkeepalive(ms, size) return state.py.sock_keepalive(self.handle, ms, size) end
function M:getreusedtimes() return state.py.sock_reused(self.handle) end
function M:close() return state.py.sock_close(self.handle) end
function M:setoption() return true end
function M:sslhandshake() return nil, "TLS cosockets are not part of the sandbox" end

return M
