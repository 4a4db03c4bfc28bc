-- kong.log: callable, levels, and the record that the log plugins serialise.
local state = require "shim.state"
local py = state.py
local log = {}

local function text(...)
  local parts = { ... }
  for i = 1, select("#", ...) do parts[i] = tostring(parts[i]) end
  return table.concat(parts)
end

local LEVELS = { alert = 2, crit = 3, err = 4, warn = 5, notice = 6, info = 7, debug = 8 }
for name, level in pairs(LEVELS) do
  log[name] = function(...)
    local plugin = state.cur and state.cur.plugin
    py.log(level, plugin and "[" .. plugin.name .. "] " .. text(...) or text(...))
  end
end
function log.inspect(...) log.debug(...) end
function log.deprecation(...) log.warn(...) end
log.set_format = function() end
log.new = function() return log end

local MODES = { set = true, add = true, replace = true }

function log.set_serialize_value(key, value, options)
  if type(key) ~= "string" then error("key must be a string", 2) end
  local mode = options and options.mode or "set"
  if not MODES[mode] then error("mode must be 'set', 'add' or 'replace'", 2) end
  local list = state.cur.ctx.serialize_values or {}
  state.cur.ctx.serialize_values = list
  list[#list + 1] = { key = key, value = value, mode = mode }
end

local function apply(root, item)
  local parts = {}
  for part in item.key:gmatch("[^.]+") do parts[#parts + 1] = part end
  local at = root
  for i = 1, #parts - 1 do
    if type(at[parts[i]]) ~= "table" then
      if item.mode == "replace" then return end
      at[parts[i]] = {}
    end
    at = at[parts[i]]
  end
  local last = parts[#parts]
  local present = at[last] ~= nil
  if item.mode == "set" or (item.mode == "add" and not present) or (item.mode == "replace" and present) then
    at[last] = item.value
  end
end

-- The record of one context; the sandbox's own request log reads it too.
function log.record(cur)
  local ctx = cur.ctx
  local root = py.serialize(cur.x)
  root.route = ctx.route
  root.service = ctx.service
  root.consumer = ctx.authenticated_consumer
  local proxied = ctx.KONG_PROXIED and not ctx.KONG_EXITED and not ctx.KONG_UNEXPECTED
  root.source = proxied and "upstream" or "kong"
  for _, item in ipairs(ctx.serialize_values or {}) do apply(root, item) end
  return root
end

function log.serialize() return log.record(state.cur) end

return setmetatable(log, { __call = function(_, ...) log.notice(...) end })
