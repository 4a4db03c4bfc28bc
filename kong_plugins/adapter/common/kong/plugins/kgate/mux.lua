--- Decisions of many requests at a time: a few connections of the worker to the plugin server, each kept by two light
-- threads of a timer. One sends what requests have queued since it last ran, the other hands the answers out.
--
-- A request that asks alone pays for a send, a wake-up of the server and a receive; here all requests of one turn of
-- the event loop share them. An answer names the number of its question, so one that comes late finds nobody
-- waiting and reaches no other request.

local facts = require "kong.plugins.kgate.facts"
local answers = require "kong.plugins.kgate.answers"
local waiters = require "kong.plugins.kgate.waiters"
local semaphore = require "ngx.semaphore"
local buffer = require "string.buffer"

local byte, sub, char, floor = string.byte, string.sub, string.char, math.floor
local pairs, pcall = pairs, pcall
local ngx, kong = ngx, kong
local worker_exiting = ngx.worker.exiting

local M = {}

local CONNECT_MS, SEND_MS, POLL_MS = 50, 50, 1000
local WAIT_SECONDS = 0.35 -- for a connection and the answer
local OPEN_SECONDS = 0.1 -- for a connection alone: Kong's timers may be late, and it can be asked without one
local MAX_LINKS = 4
local CROWD = 8 -- questions under way on a link before another one is used
local MAX_ANSWER = 16 * 1024 * 1024
local CHUNK = 65536
-- of questions: from 2^16 on MessagePack writes each in five bytes, which answers.lua looks for
local FIRST_NUMBER, LAST_NUMBER = 2 ^ 16, 2 ^ 31
local POOL = { pool = "kgate-mux" } -- never filled: each link has a connection of its own

local by_path = {} -- socket path -> its links, those that are open or opening

-- links: { waiting = { [number] = waiter }, busy = their count, queue = the bytes to send, told = verdicts by slot
-- (answers.lua), awake, epoch and heard = which leases hold and when the server last said so (leases.lua) }. The queue
-- is a buffer, not strings: each string of Lua's is looked up among all others and swept later. Measured on Kong 3.9.3
-- for the rows of outcomes.lua: 6 us of 60 a request.

local function forget(link)
  link.closed = true
  local links = by_path[link.path]
  for i = #links, 1, -1 do
    if links[i] == link then
      links[i] = links[#links]
      links[#links] = nil
    end
  end
  link.wake:post(1)
end

local function fail(link, err)
  forget(link)
  local waiting = link.waiting
  link.waiting, link.busy = {}, 0
  link.queue:reset()
  for _, waiter in pairs(waiting) do
    waiter.err = err
    waiter.sema:post(1)
  end
end

local function write_all(link)
  local queue = link.queue
  while not (link.closed and link.busy == 0) do
    if #queue == 0 then
      link.awake = false
      link.wake:wait(POLL_MS * 60) -- the reader wakes us when there is something to end
    else
      local sent, err = link.sock:send(queue:get())
      if not sent then
        return err or "send failed"
      end
    end
  end
end

-- Hand out the answer to question `number` in data[first..last]; returns what is wrong with it.
local function deliver(link, number, data, first, last)
  local waiter = link.waiting[number]
  local answer, sound = answers.read(data, first, last, waiter and waiter.id, link.told)
  if answer == nil then
    return sound
  end
  if waiter then
    link.waiting[number] = nil
    link.busy = link.busy - 1
    waiter.answer, waiter.sound = answer, sound
    waiter.sema:post(1)
    if link.closed and link.busy == 0 then
      link.wake:post(1)
    end
  end
end

-- Hand out the whole answers in data; returns what is left of it, or nil and what is wrong.
local function hand_out(link, data)
  local at, size = 1, #data
  while size - at >= 3 do
    local a, b, c, d = byte(data, at, at + 3)
    local length = ((a * 256 + b) * 256 + c) * 256 + d
    if length > MAX_ANSWER then
      return nil, "bad answer: length"
    end
    local last = at + 3 + length
    if last > size then
      break
    end
    local number = answers.number(data, at + 4, last)
    local err
    if number == 0 then -- a beat: leases.lua
      link.epoch, link.heard = answers.epoch(data, at + 4, last), ngx.now()
    elseif number then
      err = deliver(link, number, data, at + 4, last)
    else
      err = "bad answer: no number"
    end
    if err then
      return nil, err
    end
    at = last + 1
  end
  return at > size and "" or sub(data, at)
end

local function read_all(link)
  local rest = ""
  while true do
    local data, err = link.sock:receiveany(CHUNK)
    if data then
      rest, err = hand_out(link, rest == "" and data or rest .. data)
      if not rest then
        return err
      end
    elseif err ~= "timeout" then
      return err or "closed"
    elseif link.closed or (worker_exiting() and link.busy == 0) then
      return "ended"
    end
  end
end

local function keep(link)
  local sock, err = ngx.socket.tcp()
  if not sock then
    return fail(link, err)
  end
  sock:settimeouts(CONNECT_MS, SEND_MS, POLL_MS)
  local ok
  ok, err = sock:connect("unix:" .. link.path, POOL)
  if not ok then
    return fail(link, err or "connect failed")
  end
  link.sock = sock
  local reader, writer = ngx.thread.spawn(read_all, link), ngx.thread.spawn(write_all, link)
  ok, err = ngx.thread.wait(reader, writer)
  fail(link, ok and err or "failed")
  ngx.thread.kill(reader)
  ngx.thread.kill(writer)
  sock:close()
  if not ok then
    kong.log.err("kgate: a connection to the plugin server: ", err)
  end
end

local function run(premature, link)
  if premature then
    return fail(link, "exiting")
  end
  local ok, err = pcall(keep, link)
  if not ok then
    fail(link, "failed")
    kong.log.err("kgate: a connection to the plugin server: ", err)
  end
end

local function start(path, links)
  local wake, err = semaphore.new(0)
  if not wake then
    return nil, err
  end
  local link = { path = path, waiting = {}, busy = 0, queue = buffer.new(), wake = wake, awake = true,
    number = FIRST_NUMBER - 1, told = {} }
  local ok
  ok, err = ngx.timer.at(0, run, link)
  if not ok then
    return nil, err
  end
  links[#links + 1] = link
  return link
end

-- The first link with room; else a new one; else the one with the fewest questions under way.
local function choose(path)
  local links = by_path[path]
  if not links then
    links = {}
    by_path[path] = links
  end
  local best
  for i = 1, #links do
    local link = links[i]
    if link.busy < CROWD then
      return link
    end
    if not best or link.busy < best.busy then
      best = link
    end
  end
  if #links == MAX_LINKS then
    return best
  end
  local link, err = start(path, links)
  return link or best, err
end

local last_byte = {}
for value = 0, 255 do
  last_byte[value] = char(value)
end
local before, of = "", -1 -- the bytes of a number before its last, and of which number / 256

-- ["M", chain hash, facts, number], or ["M", chain hash, facts, number, configs].
local function put(queue, chain, list, n, number, with_configs)
  facts.put(queue, with_configs and chain.full_head or chain.mux_head, list, n)
  local last = number % 256
  local rest = (number - last) / 256
  if rest ~= of then
    before, of = char(0xce, floor(rest / 65536), floor(rest / 256) % 256, rest % 256), rest
  end
  queue:put(before, last_byte[last])
  if with_configs then
    queue:put(chain.configs)
  end
end

--- Ask for the verdict of a chain (of chain.lua) on the n facts of list (of facts.lua). with_configs: they go with it,
-- for a server that does not know the chain.
-- Returns the answer, whether it is a verdict that was found sound and to be on this request, and the link; or nil, the
-- reason, and whether it may be asked again on a connection of its own: there is no link (yet), or the server has
-- ended it.
function M.ask(path, chain, list, n, with_configs)
  if worker_exiting() then
    return nil, "exiting", true -- no timer starts any more
  end
  local link, err = choose(path)
  local waiter = link and waiters.take()
  if not waiter then
    return nil, err or "no semaphore", true
  end
  local number = link.number + 1
  if number == LAST_NUMBER then
    number = FIRST_NUMBER
  end
  link.number = number
  put(link.queue, chain, list, n, number, with_configs)
  waiter.id = list[2]
  link.waiting[number] = waiter
  link.busy = link.busy + 1
  if not link.awake then
    link.awake = true
    link.wake:post(1)
  end
  local opening = link.sock == nil
  local ok
  ok, err = waiter.sema:wait(opening and OPEN_SECONDS or WAIT_SECONDS)
  if not ok and opening and link.sock then
    opening = false
    ok, err = waiter.sema:wait(WAIT_SECONDS - OPEN_SECONDS)
  end
  if not ok then -- the others on this link may get their answers yet, nobody new joins them
    link.waiting[number] = nil
    link.busy = link.busy - 1
    forget(link)
    return nil, err, opening
  end
  local answer, sound
  answer, sound, err = waiter.answer, waiter.sound, waiter.err
  waiters.give_back(waiter)
  if answer then
    return answer, sound, link
  end
  return nil, err, true
end

return M
