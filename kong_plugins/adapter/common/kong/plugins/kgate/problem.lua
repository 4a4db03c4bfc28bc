--- The adapter's own answer: 503 as problem details (RFC 9457) with a stable reason id, as the server writes them.

local gsub = string.gsub

local M = {}

local DETAIL = {
  no_verdict = "The gateway could not decide about this request.",
  no_state = "The gateway does not know yet whom to let in.",
  deadline = "The gateway took too long to decide about this request.",
  filter_error = "The gateway failed to decide about this request.",
  server_away = "The gateway's decision service is away.",
  breaker_open = "The gateway's decision service is away.",
  unprotected = "This route must be protected and is not: it is switched off.",
  unguarded = "The gateway's guard is not enabled: this route is switched off.",
  unreadable = "The gateway cannot tell how this route is protected: it is switched off.",
  adapter_error = "The gateway failed on this request.",
}

local START = '{"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "'

--- status, body, headers for kong.response.exit. A fresh header table each time: Kong may keep it.
function M.unavailable(reason, request_id)
  local id = gsub(request_id or "", "[^%w%-]", "")
  local body = START .. (DETAIL[reason] or DETAIL.no_verdict) .. '", "reason": "' .. reason
    .. '", "request_id": "' .. id .. '"}'
  return 503, body, { ["Content-Type"] = "application/problem+json", ["Cache-Control"] = "no-store" }
end

return M
