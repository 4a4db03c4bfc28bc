-- Which PDK function may be called in which phase, and the error of one that may not: Kong's phase checker.
-- The rules are those of Kong 3.9.3's kong/pdk/*.lua; a name that is not here may be called anywhere.
local state = require "shim.state"

-- in the order in which Kong names them
local ORDER = {
  "init_worker", "certificate", "client_hello", "rewrite", "access", "balancer", "response", "cluster_listener",
  "header_filter", "body_filter", "log", "preread", "error", "admin_api",
}

local function set(names)
  local t = {}
  for name in names:gmatch("%S+") do t[name] = true end
  local list = {}
  for _, name in ipairs(ORDER) do if t[name] then list[#list + 1] = name end end
  t.names = table.concat(list, ", ")
  return t
end

local REQUEST = set "rewrite access balancer response header_filter body_filter log error admin_api cluster_listener"
local BODY = set "rewrite access response error admin_api"
local AUTH = set "access header_filter response body_filter log"
local OUTPUT = set "response header_filter body_filter log error admin_api"
local UPSTREAM_OUTPUT = set "response header_filter body_filter log"
local CHANGE = set "rewrite access response balancer header_filter error admin_api"
local ACCESS, LOG, BODY_FILTER = set "access", set "log", set "body_filter"
local TARGET = set "rewrite access balancer preread"
local EARLY = set "rewrite access"
local EARLY_OR_BALANCER = set "rewrite access balancer"
local WITH_CTX = set "rewrite access header_filter response body_filter log"

local NOT_INIT = {} -- everywhere but in init_worker

local RULES = {
  request = {
    [REQUEST] = "get_scheme get_host get_forwarded_scheme get_forwarded_host get_forwarded_port get_forwarded_path "
      .. "get_forwarded_prefix get_http_version get_method get_path get_raw_path get_path_with_query get_raw_query "
      .. "get_query get_query_arg get_header get_headers get_start_time get_uri_captures",
    [BODY] = "get_raw_body get_body",
    [NOT_INIT] = "get_port",
  },
  client = {
    [AUTH] = "get_credential load_consumer get_consumer get_protocol",
    [ACCESS] = "authenticate",
    [NOT_INIT] = "get_ip get_forwarded_ip get_port get_forwarded_port",
  },
  response = {
    [OUTPUT] = "get_status get_header get_headers get_source",
    [CHANGE] = "set_status set_header add_header clear_header set_headers exit error",
    [BODY_FILTER] = "get_raw_body set_raw_body",
  },
  service = {
    [ACCESS] = "set_upstream set_retries set_timeouts set_target_retry_callback",
    [TARGET] = "set_target set_tls_verify set_tls_verify_depth set_tls_verify_store set_tls_cert_key",
  },
  ["service.request"] = {
    [EARLY_OR_BALANCER] = "enable_buffering set_scheme set_path set_header set_raw_body",
    [EARLY] = "set_raw_query set_method set_query clear_query_arg add_header clear_header set_headers set_body",
  },
  ["service.response"] = { [UPSTREAM_OUTPUT] = "get_status get_headers get_header get_raw_body get_body" },
  router = { [AUTH] = "get_route get_service" },
  log = { [WITH_CTX] = "set_serialize_value", [LOG] = "serialize" },
}

local function wrap(allowed, fn)
  if allowed == NOT_INIT then
    return function(...)
      local phase = state.cur and state.cur.phase
      if not phase or phase == "timer" then error("no phase in ngx.ctx.KONG_PHASE", 2) end
      if phase == "init_worker" then
        error("function cannot be called in init_worker phase (can be called in any phases except: init_worker)", 2)
      end
      return fn(...)
    end
  end
  return function(...)
    local phase = state.cur and state.cur.phase
    if not phase or phase == "timer" then
      error("no phase in ngx.ctx.KONG_PHASE, (need one of " .. allowed.names .. ")", 2)
    end
    if not allowed[phase] then
      error("function cannot be called in " .. phase .. " phase (only in: " .. allowed.names .. ")", 2)
    end
    return fn(...)
  end
end

local M = {}

-- Put the checks around the functions of `kong`.
function M.guard(kong)
  for module, groups in pairs(RULES) do
    local at = kong
    for part in module:gmatch("[^.]+") do at = at[part] end
    for allowed, names in pairs(groups) do
      for name in names:gmatch("%S+") do
        local fn = rawget(at, name)
        if fn then at[name] = wrap(allowed, fn) end
      end
    end
  end
  return kong
end

return M
