--- Requests that wait for an answer (mux.lua): { sema, id = the request's, answer, sound = whether it is, err }. One is
-- used again after its answer came; never after it was given up, for an answer may come yet.

local semaphore = require "ngx.semaphore"

local M = {}

local MAX_FREE = 256

local free, n_free = {}, 0

--- One that waits for nothing yet, or nil and the reason.
function M.take()
  if n_free > 0 then
    local waiter = free[n_free]
    n_free = n_free - 1
    return waiter
  end
  local sema, err = semaphore.new(0)
  return sema and { sema = sema, id = nil, answer = nil, sound = nil, err = nil }, err
end

--- Keep it for another request.
function M.give_back(waiter)
  if n_free < MAX_FREE then
    waiter.answer, waiter.err = nil, nil
    n_free = n_free + 1
    free[n_free] = waiter
  end
end

return M
