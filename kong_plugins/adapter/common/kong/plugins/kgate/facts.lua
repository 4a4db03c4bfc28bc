--- The facts of one request as the positional record of docs/protocol.md.

local const = require "kong.plugins.kgate.const"
local mp = require "kong.plugins.kgate.mp"
local buffer = require "string.buffer"

local lower, gsub, sub, find, format = string.lower, string.gsub, string.sub, string.find, string.format
local concat, load = table.concat, load
local setmetatable, kong, ngx = setmetatable, kong, ngx

local M = {}

local PROTOCOL = const.PROTOCOL
local MAX_HEADER = 8192

-- array of header names -> the function that reads them; weak: gone with the config
local compiled = setmetatable({}, { __mode = "k" })

local function cut(value, truncated, name)
  return sub(value, 1, MAX_HEADER), truncated == "" and name or truncated .. "," .. name
end

-- Straight code, made of the names: LuaJIT compiles no function with a loop as one piece, nor what calls it.
local READER = [[
local cut, max = ...
return function(var, list)
  local n, truncated, value = 13, "", nil
%s
  list[13] = truncated
  return n
end]]
local READ_ONE = [[
  value = var[%q]
  if value then
    if #value > max then
      value, truncated = cut(value, truncated, %q)
    end
    list[n + 1] = %q
    list[n + 2] = value
    n = n + 2
  end]]

local function compile(names)
  local parts = {}
  for i = 1, #names do
    local name = lower(names[i])
    parts[i] = format(READ_ONE, "http_" .. gsub(name, "-", "_"), name, name)
  end
  local read = load(format(READER, concat(parts, "\n")), "=kgate-facts")(cut, MAX_HEADER)
  compiled[names] = read
  return read
end

--- An IPv4 address that came in as IPv4-mapped IPv6, as IPv4 (nginx writes these in lower case).
local function unfold(ip)
  if sub(ip, 1, 7) == "::ffff:" and find(ip, ".", 8, true) then
    return sub(ip, 8)
  end
  return ip
end
M.unfold = unfold

--- Kong's request id (since Kong 3.5; before it nginx's): never the client's.
function M.request_id(ctx)
  return ctx.request_id or ngx.var.kong_request_id or ngx.var.request_id or ""
end

--- The client's address, as Kong sees it.
function M.ip()
  return unfold(ngx.var.remote_addr or "")
end

local function fill_place(list, var)
  local ip = var.remote_addr or ""
  if sub(ip, 1, 7) == "::ffff:" then
    ip = unfold(ip)
  end
  list[3] = ip
  list[4] = var.scheme or ""
  list[5] = ngx.req.get_method()
  list[6] = var.host or ""
end

--- Fill list with what requests of one route may have alike, in its places among the facts, and return the facts'
-- number. names: the headers to send. The other places are `fill_own`'s.
function M.fill_alike(list, names)
  local var = ngx.var
  local read = compiled[names] or compile(names)
  fill_place(list, var)
  local n = read(var, list)
  return n
end

--- Fill in the route, and what is each request's own.
function M.fill_own(list, ctx, plan)
  list[1] = PROTOCOL
  list[2] = M.request_id(ctx)
  list[7] = kong.request.get_path()
  list[8] = kong.request.get_raw_path()
  list[9] = plan.route
  list[10] = plan.service
  list[11] = plan.tenant
  list[12] = ngx.var.http_traceparent or ""
end

--- Fill list with the facts and return their number.
function M.fill(list, ctx, plan, names)
  local n = M.fill_alike(list, names)
  M.fill_own(list, ctx, plan)
  return n
end

local heads = {} -- by n: an array of n elements that begins with the protocol number
local MAX_HEADS = 256

local function head_of(n)
  local head = mp.array(n) .. mp.int(PROTOCOL)
  if n <= MAX_HEADS then
    heads[n] = head
  end
  return head
end

--- Append `before` and the n facts of list, packed, to a string.buffer; nothing where they raise for what is no text.
function M.put(queue, before, list, n)
  mp.check_texts(list, 2, n)
  queue:put(before, heads[n] or head_of(n))
  mp.put_texts(queue, list, 2, n)
end

local alone = buffer.new()

--- The n facts of list as one packed text, for the rare question that goes out by itself.
function M.packed(list, n)
  M.put(alone, "", list, n)
  return alone:get()
end

return M
