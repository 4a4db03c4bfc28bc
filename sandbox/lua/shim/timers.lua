-- ngx.timer: each run is a context of its own, without a request.
local state = require "shim.state"
local py = state.py

local M = {}
local settle -- the runloop's: runs a coroutine on until it waits or ends

function M.set_settle(fn) settle = fn end

-- The functions of timers stay on this side, by number: what Python is given inside a coroutine holds that
-- coroutine's state and dangles once it is collected.
local bodies, last_body = {}, 0

ngx.set_timer_function(function(delay, again, fn, ...)
  if type(delay) ~= "number" or type(fn) ~= "function" then error("bad argument to a timer", 3) end
  local args, n = { ... }, select("#", ...)
  local function body(premature)
    local r = state.new(nil)
    r.phase = "timer"
    r.job = { co = coroutine.create(fn) }
    state.cur = r
    return r, settle(r, coroutine.resume(r.job.co, premature, unpack(args, 1, n)))
  end
  last_body = last_body + 1
  bodies[last_body] = body
  py.timer(delay, again, last_body)
  return true
end)

-- A timer is due; premature: the worker ends.
function M.fire(id, again, premature)
  local body = bodies[id]
  if not again then bodies[id] = nil end
  return body(premature)
end

return M
