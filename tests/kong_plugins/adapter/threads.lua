--- Light threads, semaphores, timers and duplex sockets over fake.lua, in simulated time: loaded after it.
-- `go(f)` starts a request, `run()` goes on until nothing can move; time jumps when everybody waits.
local fake = ...
local M = { threads = {}, connects = 0, open = 0, sockets = {} }
fake.late = {}

local function block(ready, seconds)
  local thread = M.current
  thread.ready, thread.at = ready, seconds and fake.now + seconds
  coroutine.yield(fake.wait)
  return ready()
end

local function resume(thread)
  local before = M.current
  M.current = thread
  local got = { coroutine.resume(thread.co, unpack(thread.args)) }
  M.current = before
  if coroutine.status(thread.co) == "dead" then
    thread.done, thread.got = true, got
    if not got[1] and not thread.waited then error(got[2]) end
  end
end

local function spawn(waited, f, ...)
  local thread = { co = coroutine.create(f), args = { ... }, waited = waited }
  M.threads[#M.threads + 1] = thread
  resume(thread)
  return thread
end

function M.go(f, ...) return spawn(false, f, ...) end

--- Let everything move until all wait for more than `seconds`, or for ever.
function M.run(seconds)
  local last = fake.now + (seconds or 0)
  while true do
    local moved, nearest
    for _, thread in ipairs({ unpack(M.threads) }) do
      if not thread.done then
        if thread.ready() or (thread.at and thread.at <= fake.now) then
          moved = true
          resume(thread)
        elseif thread.at and (not nearest or thread.at < nearest) then
          nearest = thread.at
        end
      end
    end
    while #fake.timers > 0 do
      local timer = table.remove(fake.timers, 1)
      moved = true
      spawn(false, timer[2], fake.premature or false, unpack(timer, 3))
    end
    if not moved then
      fake.now = math.min(nearest or last, last)
      if not nearest or nearest > last then return end
    end
  end
end

function M.alive()
  local n = 0
  for _, thread in ipairs(M.threads) do
    if not thread.done then n = n + 1 end
  end
  return n
end

ngx.timer.at = function(delay, f, ...)
  if fake.no_timers then return nil, "too many pending timers" end
  local list = delay == 0 and fake.timers or fake.late -- those with a delay are the test's to run
  list[#list + 1] = { delay, f, ... }
  return true
end

ngx.worker.exiting = function() return fake.exiting or false end

ngx.thread = {
  spawn = function(f, ...) return spawn(true, f, ...) end,
  wait = function(...)
    local all = { ... }
    local function first()
      for _, thread in ipairs(all) do
        if thread.done then return thread end
      end
    end
    local thread = first() or block(first)
    return unpack(thread.got)
  end,
  kill = function(thread)
    if thread.done then return nil, "already waited or killed" end
    thread.done = true
    return true
  end,
}

package.loaded["ngx.semaphore"] = {
  new = function(count)
    if fake.no_semaphores then return nil, "no memory" end
    return {
      left = count or 0,
      post = function(self, n) self.left = self.left + (n or 1) end,
      wait = function(self, seconds)
        if self.left == 0 and not block(function() return self.left > 0 end, seconds) then
          return nil, "timeout"
        end
        self.left = self.left - 1
        return true
      end,
    }
  end,
}

--- Sockets: M.serve(connection number, bytes) is called with what is sent and returns what to answer (or nothing),
-- and whether it hangs up then.
ngx.socket.tcp = function()
  M.connects = M.connects + 1
  local number = M.connects
  local inbox, hung_up, closed = "", false, false
  local sock = {}
  function sock.settimeouts(_, _, _, read_ms) sock.read = read_ms / 1000 end
  function sock.connect(_, _, options)
    sock.pool = options and options.pool
    if M.refuse then return nil, M.refuse end
    M.open = M.open + 1
    return 1
  end
  function sock.send(_, message)
    if type(message) == "table" then message = table.concat(message) end
    if hung_up then return nil, "broken pipe" end
    local answer, ends = M.serve(number, message)
    inbox, hung_up = inbox .. (answer or ""), ends or false
    return #message
  end
  function sock.push(bytes) inbox = inbox .. bytes end
  function sock.hang_up() hung_up = true end
  function sock.receiveany(_, most)
    local function ready() return inbox ~= "" or hung_up end
    if not ready() and not block(ready, sock.read) then return nil, "timeout" end
    if inbox == "" then return nil, "closed" end
    local size = math.min(most, M.piece or most)
    local data = inbox:sub(1, size)
    inbox = inbox:sub(size + 1)
    return data
  end
  function sock.close()
    if not closed then M.open = M.open - 1 end
    closed = true
    return 1
  end
  M.last, M.sockets[number] = sock, sock
  return sock
end

return M
