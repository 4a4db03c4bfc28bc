--- The client of the express lane: one MessagePack array out, 8 hexadecimal digits and one map back.

local mp = require "kong.plugins.kgate.mp"

local find, tonumber, type = string.find, tonumber, type
local ngx = ngx

local M = {}

local CONNECT_MS, SEND_MS, READ_MS = 50, 50, 300
local IDLE_MS, POOL_SIZE = 60000, 128
local MAX_ANSWER = 16 * 1024 * 1024
local HEX8 = "^%x%x%x%x%x%x%x%x$"

-- The retry must not meet the next dead connection of the pool: a pool of its own that is never filled.
local FRESH = { pool = "kgate-fresh" }

-- how a connection ends whose other side is gone; the latter where it had not read all
local ENDED = { closed = true, ["connection reset by peer"] = true }

local function fail(sock, err)
  sock:close()
  return nil, err
end

-- Returns the answer, or nil, the reason, and whether a reused connection had been closed before it answered.
local function exchange(path, message, fresh)
  local sock, made = ngx.socket.tcp()
  if not sock then
    return nil, made
  end
  sock:settimeouts(CONNECT_MS, SEND_MS, READ_MS)
  local connected, err
  if fresh then
    connected, err = sock:connect("unix:" .. path, FRESH)
  else
    connected, err = sock:connect("unix:" .. path)
  end
  if not connected then
    return nil, err or "connect failed"
  end
  local reused = not fresh and (sock:getreusedtimes() or 0) > 0
  local sent
  sent, err = sock:send(message)
  if not sent then
    sock:close()
    return nil, err or "send failed", reused and err ~= "timeout"
  end
  local head, partial
  head, err, partial = sock:receive(8)
  if not head then
    sock:close()
    return nil, err or "no answer", reused and ENDED[err] and (partial == nil or partial == "")
  end
  local size = find(head, HEX8) and tonumber(head, 16)
  if not size or size == 0 or size > MAX_ANSWER then
    return fail(sock, "bad answer: length")
  end
  local body
  body, err = sock:receive(size)
  if not body then
    return fail(sock, err or "no answer")
  end
  local answer, why = mp.decode(body)
  if type(answer) ~= "table" then
    return fail(sock, "bad answer: " .. (why or "not a map"))
  end
  if fresh then
    sock:close()
  else
    sock:setkeepalive(IDLE_MS, POOL_SIZE) -- only after a good answer: nothing of it can be left over
  end
  return answer
end

--- Send one packed request (text, or a table of parts) and return the answer as a table, or nil and the reason.
function M.call(path, message)
  local answer, err, stale = exchange(path, message, false)
  if not answer and stale then
    return exchange(path, message, true)
  end
  return answer, err
end

--- Ask for the verdict of a chain (of chain.lua) on packed facts; sends the configs when the server does not know it.
function M.decide(path, chain, packed)
  local answer, err = M.call(path, { "\x93", chain.head, packed })
  if answer and answer.e == "config" then
    answer, err = M.call(path, { "\x94", chain.head, packed, chain.configs })
  end
  return answer, err
end

return M
