--- Is this a verdict on this request? Checks the form before anything of it is used (docs/protocol.md).

local const = require "kong.plugins.kgate.const"

local type, floor = type, math.floor
local NEW = const.PROTOCOL

local M = {}

local function is_pairs(list)
  if list == nil then
    return true
  end
  if type(list) ~= "table" or #list % 2 ~= 0 then
    return false
  end
  for i = 1, #list do
    if type(list[i]) ~= "string" then
      return false
    end
  end
  return true
end
M.is_pairs = is_pairs

local function is_text(value)
  return value == nil or type(value) == "string"
end

--- Whether the server answered this request without a verdict: it is there, but could not decide.
function M.is_error(v, request_id)
  return type(v) == "table" and v.e ~= nil and v.n == request_id and request_id ~= ""
end

-- Why the server could not decide, where a client may know; anything else is "no_verdict" for him.
local TOLD = { no_state = true, deadline = true, filter_error = true, bad_facts = true, unanswered = true }

--- The reason id of the fail answer to a request that was answered without a sound verdict.
function M.reason(v, request_id)
  return M.is_error(v, request_id) and TOLD[v.e] and v.e or "no_verdict"
end

--- Whether every field of the verdict has its type and it names this request.
function M.is_valid(v, request_id)
  if type(v) ~= "table" or v.v ~= NEW or v.n ~= request_id or request_id == "" or v.e ~= nil then
    return false
  end
  local st = v.st
  if st ~= nil and (type(st) ~= "number" or st < 200 or st > 599 or st ~= floor(st)) then
    return false
  end
  local rt = v.rt
  if rt ~= nil and (type(rt) ~= "number" or rt < 0 or rt > 32767 or rt ~= floor(rt)) then
    return false
  end
  return is_pairs(v.h) and is_pairs(v.s) and is_text(v.b) and is_text(v.u) and is_text(v.p)
    and is_text(v.m) and is_text(v.tn) and is_text(v.rs) and is_text(v.a)
end

--- pdk lane: whether each of the n gate plugins said its config id.
function M.has_ids(ids, n)
  if type(ids) ~= "table" or #ids ~= n then
    return false
  end
  for i = 1, n do
    if type(ids[i]) ~= "number" then
      return false
    end
  end
  return true
end

return M
