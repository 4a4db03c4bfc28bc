--- Removes the headers that only the gateway may set, in every spelling, before anybody reads them.
--
-- Kong runs nginx with underscores_in_headers on, so X-Abuse-Score has four spellings and clearing one leaves
-- the others. nginx's $http_x_abuse_score matches them all whatever their case: one look per name
-- when nobody forges.

local internals = require "kong.plugins.kgate.internals"

local lower, gsub, gmatch, match = string.lower, string.gsub, string.gmatch, string.match
local concat, pairs, ipairs, format, load = table.concat, pairs, ipairs, string.format, load
local ngx = ngx

local M = {}

-- names of one config -> { { var, spellings }, ..., known = { key = true } }; weak: gone with the config
local compiled = setmetatable({}, { __mode = "k" })

local MAX_SEPARATORS = 6 -- beyond it only the scan below

local function key_of(name)
  return (gsub(lower(name), "-", "_"))
end
M.key_of = key_of

--- Every way to write a name with dashes and underscores, lower case (names are matched without case).
function M.spellings(name)
  local out = { "" }
  local separators = 0
  for c in gmatch(lower(name), ".") do
    local choices = { c }
    if c == "-" or c == "_" then
      separators = separators + 1
      if separators <= MAX_SEPARATORS then
        choices = { "-", "_" }
      end
    end
    local longer = {}
    for _, head in ipairs(out) do
      for _, tail in ipairs(choices) do
        longer[#longer + 1] = head .. tail
      end
    end
    out = longer
  end
  return out
end

-- Straight code (see READER in facts.lua).
local SEEN = "return function(var) return %s end"
local SEEN_ONE = "var[%q] ~= nil"

local function compile(names)
  local specs, seen = { known = {} }, {}
  for i, name in ipairs(names) do
    local key = key_of(name)
    specs[i] = { key = key, var = "http_" .. key, spellings = M.spellings(name) }
    specs.known[key] = true
    seen[i] = format(SEEN_ONE, "http_" .. key)
  end
  specs.seen = load(format(SEEN, #seen > 0 and concat(seen, " or ") or "false"), "=kgate-strip")()
  compiled[names] = specs
  return specs
end

-- By the names as they came: $http_ variables may be cached (where a log format names one), and this sees what
-- is really there.
local function scan(key)
  for name in pairs(ngx.req.get_headers(0, true)) do
    if key_of(name) == key then
      ngx.req.clear_header(name)
    end
  end
end

-- Kong drops the headers that the client's Connection header names (hop-by-hop) AFTER the plugins set theirs: a
-- client could so remove a passport or a mark on the way to the service.
local function guard_connection(known, value)
  local kept, n, dropped = {}, 0, false
  for token in gmatch(value, "[^,]+") do
    token = match(token, "^%s*(.-)%s*$")
    if known[key_of(token)] then
      dropped = true
    else
      n = n + 1
      kept[n] = token
    end
  end
  if dropped then
    ngx.req.set_header("Connection", n > 0 and concat(kept, ", ") or "close")
  end
  return dropped
end

local function clear_all(specs, var)
  local clear = ngx.req.clear_header
  for i = 1, #specs do
    local spec = specs[i]
    if var[spec.var] ~= nil then
      for k = 1, #spec.spellings do
        clear(spec.spellings[k])
      end
      if var[spec.var] ~= nil then
        scan(spec.key)
      end
    end
  end
end

--- Strip the request of every spelling of the names (an array of header names, the same table each time).
function M.run(names)
  local specs = compiled[names] or compile(names)
  local var, changed = ngx.var, false
  if specs.seen(var) then
    changed = true
    clear_all(specs, var)
  end
  local connection = var.http_connection
  if connection and connection ~= "keep-alive" and connection ~= "close" then
    changed = guard_connection(specs.known, connection) or changed
  end
  if changed then
    internals.forget_headers(ngx.ctx)
  end
end

return M
