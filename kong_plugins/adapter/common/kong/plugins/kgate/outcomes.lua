--- What became of the requests: rows that are sent to the plugin server in batches, off the request path.

local mp = require "kong.plugins.kgate.mp"
local express = require "kong.plugins.kgate.express"

local concat, pcall, tostring, sub = table.concat, pcall, tostring, string.sub
local ngx, kong = ngx, kong

local M = {}

local DELAY_SECONDS, AGAIN_SECONDS = 0.1, 1
local MAX_ROWS = 1000
local EARLY_ROWS = 500 -- a busy worker does not wait for the timer
local FIELDS = 13

local rows, n, size, waiting, hurried = {}, 0, 0, false, false
local dropped, batches = 0, 0
local socket, worker

-- Unique over workers, restarts, and containers that share a run dir (equal pids): the address of a table differs.
local function batch_id()
  if not worker then
    worker = sub(ngx.md5(ngx.worker.pid() .. " " .. ngx.now() .. " " .. tostring({})), 1, 16)
  end
  batches = batches + 1
  return worker .. "-" .. batches
end

local function give_up(batch, err)
  dropped = dropped + batch.lost + batch.count
  kong.log.warn("kgate: ", batch.count, " outcomes dropped: ", err)
end

-- Once more, later: a server that restarts is back by then. The same batch id: the server counts it once.
local function again(batch)
  local ok, err = ngx.timer.at(AGAIN_SECONDS, function()
    local reply, why = express.call(socket, batch.message)
    if not reply then
      give_up(batch, why)
    end
  end)
  if not ok then
    give_up(batch, err)
  end
end

local function send(premature)
  local list, count, bytes, lost = rows, n, size, dropped
  rows, n, size, dropped, waiting, hurried = {}, 0, 0, 0, false, false
  if count == 0 and lost == 0 then
    return
  end
  -- the rows as one piece that the server hands on unread, and never one Lua string here
  local message = { "\x94" .. mp.text("r") .. mp.text(batch_id()) .. mp.int(lost) .. mp.bytes(bytes), list }
  local batch = { message = message, count = count, lost = lost }
  local reply, err = express.call(socket, message)
  if not reply then
    if premature then
      give_up(batch, err)
    else
      again(batch)
    end
  end
end

-- The timer's handler. Also at a worker's exit (premature): a last try.
local function flush(premature)
  local ok, err = pcall(send, premature)
  if not ok then
    kong.log.err("kgate: outcomes: ", err)
  end
end
M.flush = flush

local function start(delay)
  local ok, err = ngx.timer.at(delay, flush)
  if not ok then
    kong.log.warn("kgate: outcomes wait, no timer: ", err)
  end
  return ok and true or false
end

local parts = {}

--- Add one row: 13 texts in the order of docs/protocol.md. path: the express socket. What differs from row to row, the
-- request id, is its last: LuaJIT hashes only some bytes of a long string, its last ones always, and long strings that
-- fall together are all compared with each other (measured on Kong 3.9.3: half of a worker's time).
function M.add(path, row)
  socket = path
  if n >= MAX_ROWS then
    dropped = dropped + 1
  else
    parts[1] = "\x9d" -- an array of 13
    local last = mp.put_texts(parts, 1, row, 1, FIELDS)
    local packed = concat(parts, "", 1, last)
    n = n + 1
    rows[n] = packed
    size = size + #packed
  end
  if not waiting then
    waiting = start(DELAY_SECONDS)
  elseif n >= EARLY_ROWS and not hurried then
    hurried = start(0)
  end
end

return M
