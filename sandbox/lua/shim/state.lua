-- What runs now. The runtime is single-threaded: every resume of a coroutine sets `cur` first.
-- cur: one execution context (a request or a timer): x (the Python exchange), ctx (ngx.ctx), shared,
-- plugin_ctx, phase, job (the coroutine in flight), plugin and conf (whose handler runs).
local M = { cur = nil, py = nil, EXIT = "exit" }

-- Phases in which nothing may wait: nginx has no way to suspend its output filters.
M.NO_YIELD = { header_filter = true, body_filter = true, log = true }

function M.new(x)
  return { x = x, ctx = {}, shared = {}, plugin_ctx = {}, phase = "rewrite" }
end

function M.check_may_wait()
  local phase = M.cur and M.cur.phase
  if not phase or M.NO_YIELD[phase] then
    error("API disabled in the current context", 3)
  end
end

-- Suspend the running handler; the driver awaits `op` and resumes with its results.
function M.wait(op, ...)
  M.check_may_wait()
  return coroutine.yield(op, ...)
end

return M
