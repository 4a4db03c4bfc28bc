-- ngx.thread and ngx.semaphore: light threads of one context, driven beside it.
-- A thread runs at once until it waits for the first time, as in OpenResty.
local state = require "shim.state"
local py = state.py

local M = {}
local threads, last = {}, 0 -- those that have not ended, by number: Python is given numbers only

local settle -- of the runloop

local function pack(...) return { n = select("#", ...), ... } end

function M.set_settle(fn) settle = fn end

local function ended(t, ...)
  t.finished, t.results, t.n = true, { ... }, select("#", ...)
  threads[t.number] = nil
end

-- After each run of the thread: what it waits for, or "done".
local function step(t, outcome, ...)
  if outcome == "wait" then return "wait", ... end
  if outcome == "error" then
    ended(t, false, (...))
  else
    ended(t, true, unpack(t.job_results or {}, 1, t.job_n or 0))
  end
  return "done"
end

local function keep_results(t, ...)
  t.job_results, t.job_n = { ... }, select("#", ...)
end

function M.spawn(fn, ...)
  state.check_may_wait()
  local parent = state.cur
  last = last + 1
  local t = setmetatable({ number = last }, { __index = parent })
  threads[last] = t
  -- the results are kept by the body: settle tells only how it ended
  t.job = { co = coroutine.create(function(...) keep_results(t, fn(...)) end) }
  state.cur = t
  t.pending = pack(step(t, settle(t, coroutine.resume(t.job.co, ...))))
  state.cur = parent
  if not t.finished then py.thread(t.number) end
  return t
end

-- For Python, outside of any coroutine: the thread and what it waits for.
function M.pending(number)
  local t = threads[number]
  if not t then return nil, "done" end
  local pending = t.pending
  t.pending = nil
  return t, unpack(pending, 1, pending.n)
end

function M.resume(t, ...)
  if t.finished or t.killed then return "done" end
  state.cur = t
  return step(t, settle(t, coroutine.resume(t.job.co, ...)))
end

-- What drives the thread failed: nobody shall wait for it for ever.
function M.lost(number, why)
  local t = threads[number]
  if t then ended(t, false, why) end
end

function M.wait(...)
  local list = { ... }
  while true do
    local numbers = {}
    for _, t in ipairs(list) do
      if t.killed or t.waited then return nil, "already waited or killed" end
      if t.finished then
        t.waited = true
        return unpack(t.results, 1, t.n)
      end
      numbers[#numbers + 1] = t.number
    end
    state.wait("threads", unpack(numbers))
  end
end

function M.kill(t)
  if t.finished or t.killed then return nil, "already terminated" end
  t.killed = true
  threads[t.number] = nil
  py.thread_kill(t.number)
  return true
end

-- semaphores

local semaphore = {}
semaphore.__index = semaphore

function semaphore.new(n) return setmetatable({ handle = py.sema_new(n or 0) }, semaphore) end
function semaphore:post(n) py.sema_post(self.handle, n or 1) return true end
function semaphore:count() return py.sema_count(self.handle) end
function semaphore:wait(seconds)
  state.check_may_wait()
  if py.sema_take(self.handle) then return true end
  if not seconds or seconds <= 0 then return nil, "timeout" end
  return state.wait("semaphore", self.handle, seconds)
end

M.semaphore = { new = semaphore.new }
return M
