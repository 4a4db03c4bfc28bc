--- Everything that the adapter reads of Kong's insides (measured on 3.9.3; same format in 3.4 to 3.8).
--
-- Kong has no public way to ask which plugins a route runs, or whether a plugin answered. When Kong changes one of
-- these, this file changes and no other.

local type, pairs, rawequal, find = type, pairs, rawequal, string.find
local next = next

local M = {}

-- ws table -> true | reason; one look at the format per configuration
local checked = setmetatable({}, { __mode = "k" })

local KEY = "^[^:]*:[^:]*:[^:]*$" -- route_id:service_id:consumer_id, each may be empty

local function check(ws, own_name, own_conf, names)
  local combos = ws.combos
  if type(combos) ~= "table" then
    return "no combos"
  end
  -- we run right now with own_conf as a global plugin: the table must say so
  local own = combos[own_name]
  if type(own) ~= "table" or not rawequal(own["::"], own_conf) then
    return own_name .. " is not found where it is configured"
  end
  for i = 1, #names do
    local by_scope = combos[names[i]]
    if by_scope ~= nil then
      if type(by_scope) ~= "table" or next(by_scope) == nil then
        return names[i] .. " has no scopes"
      end
      for key, conf in pairs(by_scope) do
        if type(key) ~= "string" or not find(key, KEY) or type(conf) ~= "table" then
          return names[i] .. " has a scope of unknown form"
        end
      end
    end
  end
  return true
end

--- The workspace's plugin table of this request, once it was found to have the known form.
-- own_name and own_conf are the global plugin that is running. Returns nil and why it cannot be read.
function M.workspace(ctx, own_name, own_conf, names)
  local plugins = ctx.plugins
  local ws = type(plugins) == "table" and plugins.ws
  if type(ws) ~= "table" then
    return nil, "no plugin table"
  end
  local state = checked[ws]
  if state == nil then
    state = check(ws, own_name, own_conf, names)
    checked[ws] = state
  end
  if state ~= true then
    return nil, state
  end
  return ws
end

local guarded = setmetatable({}, { __mode = "k" }) -- ws table -> whether the guard runs

--- Whether `kgate` runs on all requests: false only where Kong's table can be read and has no global instance.
function M.has_guard(ctx)
  local plugins = ctx.plugins
  local ws = type(plugins) == "table" and plugins.ws
  if type(ws) ~= "table" then
    return true
  end
  local found = guarded[ws]
  if found == nil then
    local combos = ws.combos
    found = type(combos) ~= "table" or (type(combos.kgate) == "table" and combos.kgate["::"] ~= nil)
    guarded[ws] = found
  end
  return found
end

local logged = setmetatable({}, { __mode = "k" }) -- ws table -> whether a plugin logs

local function has_logger(plugins)
  if type(plugins) ~= "table" or type(plugins[0]) ~= "number" then
    return true
  end
  for i = 1, plugins[0] do
    local plugin = plugins[i]
    local handler = type(plugin) == "table" and plugin.handler
    if type(handler) ~= "table" or (handler.log and plugin.name ~= "kgate") then
      return true
    end
  end
  return false
end

--- Whether a plugin that may write the request's record to a log is configured (anywhere: any with a log phase).
function M.has_logger(ctx)
  local plugins = ctx.plugins
  local ws = type(plugins) == "table" and plugins.ws
  if type(ws) ~= "table" then
    return true
  end
  local found = logged[ws]
  if found == nil then
    found = has_logger(ws.plugins)
    logged[ws] = found
  end
  return found
end

--- The config of kgate-facts, or nil.
function M.facts_conf(ws)
  local by_scope = ws.combos["kgate-facts"]
  local conf = type(by_scope) == "table" and by_scope["::"]
  return type(conf) == "table" and conf or nil
end

--- The config of a plugin in Kong's order: route and service > route > service > global. (No consumer: the gate
-- plugins' schemas refuse one, and none is known yet.)
function M.find_conf(ws, name, route_id, service_id)
  local by_scope = ws.combos[name]
  if not by_scope then
    return nil
  end
  return route_id and service_id and by_scope[route_id .. ":" .. service_id .. ":"]
    or route_id and by_scope[route_id .. "::"]
    or service_id and by_scope[":" .. service_id .. ":"]
    or by_scope["::"]
end

--- The answer that a plugin gave in access: its status, or nil.
function M.delayed_status(ctx)
  local delayed = ctx.delayed_response
  return delayed and delayed.status_code
end

--- Whether the request left for a service.
function M.was_proxied(ctx, upstream_status)
  return ctx.KONG_PROXIED == true or (upstream_status ~= nil and upstream_status ~= "")
end

--- Whether kong.service.set_upstream can work: with an IP literal as the service's host it returns true and Kong
-- then ends the request with 500.
function M.can_set_upstream(ctx)
  local balancer = ctx.balancer_data
  return not (balancer and balancer.type and balancer.type ~= "name")
end

--- Make Kong read the request's headers anew. It keeps a copy, made before the first plugin runs, for routing and for
-- the headers that Connection names.
function M.forget_headers(ctx)
  ctx.cached_request_headers = nil
end

--- How many times the balancer tried.
function M.tries(ctx)
  local balancer = ctx.balancer_data
  return balancer and balancer.try_count or 0
end

return M
