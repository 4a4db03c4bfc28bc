--- Applies a verdict's effects to the request, and keeps those for the response.

local internals = require "kong.plugins.kgate.internals"

local lower, sub, type, pairs = string.lower, string.sub, type, pairs
local ngx, kong = ngx, kong

local M = {}

local PASSPORTS = { ["x-passport"] = true, ["txn-token"] = true }
local REPLACE = { mode = "replace" } -- the record may have no headers at all

--- A flat list of names and values as the table that kong.response.exit takes; a name that comes again becomes an
-- array.
function M.headers(flat)
  local out = {}
  if not flat then
    return out
  end
  for i = 1, #flat - 1, 2 do
    local name, value = flat[i], flat[i + 1]
    local before = out[name]
    if before == nil then
      out[name] = value
    elseif type(before) == "table" then
      before[#before + 1] = value
    else
      out[name] = { before, value }
    end
  end
  return out
end

-- Signed tokens do not belong in logs: the passport headers, and whatever looks like a JWS.
local function is_secret(name, value)
  return PASSPORTS[name] or sub(value, 1, 3) == "eyJ"
end

-- What kong.service.request.set_header does beside is for Host, and costs as much again.
local function set_service_header(ctx, name, value)
  local key = lower(name)
  if value == "" then
    kong.service.request.clear_header(name)
  elseif key == "host" then
    kong.service.request.set_header(name, value)
  else
    ngx.req.set_header(name, value)
    if is_secret(key, value) and internals.has_logger(ctx) then
      kong.log.set_serialize_value("request.headers." .. key, "REDACTED", REPLACE)
    end
  end
end

-- The first ones without a loop (see READER in facts.lua).
local function set_service_headers(ctx, flat)
  local n = #flat
  if n > 1 then
    set_service_header(ctx, flat[1], flat[2])
  end
  if n > 3 then
    set_service_header(ctx, flat[3], flat[4])
  end
  for i = 5, n - 1, 2 do
    set_service_header(ctx, flat[i], flat[i + 1])
  end
end

local function set_upstream(ctx, upstream)
  if not internals.can_set_upstream(ctx) then
    kong.log.err("kgate: cannot send to upstream ", upstream, ": the service's host is an IP address, not a name")
    return false
  end
  local ok, err = kong.service.set_upstream(upstream)
  if not ok then
    kong.log.err("kgate: cannot send to upstream ", upstream, ": ", err)
    return false
  end
  return true
end

--- Effects of a verdict that lets the request pass. Returns whether its upstream, if any, was taken: where not, the
-- request goes to the service's own host.
function M.request_effects(ctx, verdict)
  if verdict.s then
    set_service_headers(ctx, verdict.s)
  end
  if verdict.rt then
    kong.service.set_retries(verdict.rt)
  end
  return verdict.u == nil or verdict.u == "" or set_upstream(ctx, verdict.u)
end

--- The marks, in header_filter. Cookies are added, so the service's stay; other names are replaced.
function M.response_marks(flat)
  for name, value in pairs(M.headers(flat)) do
    if lower(name) == "set-cookie" then
      kong.response.add_header(name, value)
    else
      kong.response.set_header(name, value)
    end
  end
end

return M
