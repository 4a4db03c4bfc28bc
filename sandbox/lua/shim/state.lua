-- What runs now. The runtime is single-threaded: every resume of a coroutine sets `cur` first.
-- cur: one execution context (a request or a timer): x (the Python exchange), ctx (ngx.ctx), shared,
-- plugin_ctx, phase, job (the coroutine in flight), plugin and conf (whose handler runs).
local M = { cur = nil, py = nil, EXIT = "exit" }

-- OpenResty's names of the contexts, as its errors have them.
local CONTEXTS = {
  init_worker = "init_worker_by_lua*", rewrite = "rewrite_by_lua*", access = "access_by_lua*", response = "access_by_lua*", timer = "ngx.timer",
  header_filter = "header_filter_by_lua*", body_filter = "body_filter_by_lua*", log = "log_by_lua*",
}
local YIELDABLE = { rewrite = true, access = true, response = true, timer = true }
local BEFORE_ANSWER = { rewrite = true, access = true, response = true }
local EXIT_ALLOWED = { rewrite = true, access = true, response = true, timer = true, header_filter = true }

function M.new(x)
  return { x = x, ctx = {}, shared = {}, plugin_ctx = {}, phase = "rewrite" }
end

local function disabled(level)
  local phase = M.cur and M.cur.phase or "init_worker"
  error("API disabled in the context of " .. (CONTEXTS[phase] or "(unknown)"), level + 1)
end

-- What may suspend (sockets, sleep): nginx has no way to suspend its output filters.
function M.check_may_wait(level)
  if not (M.cur and YIELDABLE[M.cur.phase]) then disabled(level or 3) end
end

-- What makes an answer or needs the request's body: ngx.say, ngx.redirect, ngx.req.read_body.
function M.check_before_answer(level)
  if not (M.cur and BEFORE_ANSWER[M.cur.phase]) then disabled(level or 3) end
end

function M.check_exit(level)
  if not (M.cur and EXIT_ALLOWED[M.cur.phase]) then disabled(level or 3) end
end

-- The request's data: a timer and init_worker have none.
function M.request(level)
  local cur = M.cur
  if not (cur and cur.x) then error("API disabled in the current context", level or 3) end
  return cur.x
end

-- Suspend the running handler; the driver awaits `op` and resumes with its results.
function M.wait(op, ...)
  M.check_may_wait(4)
  return coroutine.yield(op, ...)
end

return M
