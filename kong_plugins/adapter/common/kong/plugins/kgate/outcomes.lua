--- What became of the requests: rows that are sent to the plugin server in batches, off the request path.

--
-- One timer stays as long as there is traffic. A new one for each batch would be dear: each wakes all of the threads
-- (some 130) in which Kong runs its timers. Measured on Kong 3.9.3: a tenth of a busy worker's time.

local mp = require "kong.plugins.kgate.mp"
local columns = require "kong.plugins.kgate.columns"
local express = require "kong.plugins.kgate.express"
local semaphore = require "ngx.semaphore"

local pcall, tostring, sub = pcall, tostring, string.sub
local concat, insert, remove = table.concat, table.insert, table.remove
local ngx, kong = ngx, kong
local worker_exiting = ngx.worker.exiting

local M = {}

local DELAY_SECONDS, AGAIN_SECONDS = 0.1, 1
local POLL_SECONDS, POLLS = 1, 5 -- how often an idle timer looks whether the worker ends, and when it ends itself
local MAX_BATCHES = 200 -- of one timer: what nginx allocates for its connections is freed when it ends
local MAX_ROWS = 4000
local EARLY_ROWS = 2000 -- a busy worker does not wait
local MAX_NAMED = 64 -- batches that were given up

local running, idle, hurried = false, false, false -- a timer is there; it waits for a row; it was told to hurry
local wake -- its semaphore
local dropped, batches = 0, 0
local given_up = {} -- batch id, rows, batch id, rows ...: the server may have them all the same, if it stood still
local socket, worker

-- Unique over workers, restarts, and containers that share a run dir (equal pids): the address of a table differs.
local function batch_id()
  if not worker then
    worker = sub(ngx.md5(ngx.worker.pid() .. " " .. ngx.now() .. " " .. tostring({})), 1, 16)
  end
  batches = batches + 1
  return worker .. "-" .. batches
end

local function name(id, count)
  local list = given_up
  list[#list + 1], list[#list + 2] = id, count
  if #list > 2 * MAX_NAMED then
    remove(list, 1)
    dropped = dropped + remove(list, 1)
  end
end

local function give_up(batch, err)
  local named = batch.given_up -- what it said of others is to be said again
  for i = 1, #named, 2 do
    name(named[i], named[i + 1])
  end
  name(batch.id, batch.count + batch.dropped)
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

local function send(last)
  local count, lost = columns.count(), dropped
  local batch = { count = count, dropped = dropped, given_up = given_up }
  dropped, given_up, hurried = 0, {}, false
  local named = { mp.array(#batch.given_up) }
  for i = 1, #batch.given_up, 2 do
    local rows_of = batch.given_up[i + 1]
    lost = lost + rows_of
    named[i + 1], named[i + 2] = mp.text(batch.given_up[i]), mp.int(rows_of)
  end
  if count == 0 and lost == 0 then
    return
  end
  batch.id = batch_id()
  -- the columns as one piece that the server hands on unread
  local size, message = columns.take()
  local head = (#named > 1 and "\x95" or "\x94") .. mp.text("c") .. mp.text(batch.id)
  insert(message, 1, head .. mp.int(lost) .. mp.bytes(size))
  message[#message + 1] = #named > 1 and concat(named) or nil
  batch.message = message
  local reply, err = express.call(socket, message)
  if not reply then
    if last then
      give_up(batch, err)
    else
      again(batch)
    end
  end
end

--- Send what is there. last: the worker ends, there is no second try.
function M.flush(last)
  local ok, err = pcall(send, last)
  if not ok then
    kong.log.err("kgate: outcomes: ", err)
  end
end

-- False when no row came for long, or the worker ends.
local function wait_for_a_row()
  for _ = 1, POLLS do
    if columns.count() > 0 then
      return true
    end
    idle = true
    wake:wait(POLL_SECONDS)
    idle = false
    if worker_exiting() then
      break
    end
  end
  return columns.count() > 0
end

local function start()
  local ok, err
  if not wake then
    wake, err = semaphore.new(0)
  end
  if wake then
    ok, err = ngx.timer.at(0, M.run)
  end
  if not ok then
    kong.log.warn("kgate: outcomes wait, no timer: ", err)
  end
  return ok and true or false
end

--- The timer's handler. premature: the worker ends.
function M.run(premature)
  local left = premature and 0 or MAX_BATCHES
  while left > 0 and wait_for_a_row() do
    if not worker_exiting() then
      wake:wait(DELAY_SECONDS)
    end
    M.flush(worker_exiting())
    left = left - 1
  end
  if premature then
    M.flush(true)
  end
  running = left == 0 and not premature and start()
end

--- Add what became of one request. path: the express socket; the others are those of columns.lua.
function M.add(path, known, fields, milliseconds, address)
  socket = path
  local n = columns.count()
  if n >= MAX_ROWS then
    dropped = dropped + 1
  else
    columns.add(known, fields, milliseconds, address)
    n = n + 1
  end
  if not running then
    running = start()
  elseif idle then
    idle = false
    wake:post(1)
  elseif n >= EARLY_ROWS and not hurried then
    hurried = true
    wake:post(1)
  end
end

return M
