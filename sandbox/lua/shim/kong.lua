-- The global `kong`.
local state = require "shim.state"
local py = state.py
local incoming = require "shim.pdk_request"

local kong = {
  version = "3.9.3",
  version_num = 3009003,
  request = incoming.request,
  client = incoming.client,
  service = require "shim.pdk_service",
  response = require("shim.pdk_response").response,
  log = require "shim.pdk_log",
  configuration = py.configuration(),
  router = {
    get_route = function() return state.cur.ctx.route end,
    get_service = function() return state.cur.ctx.service end,
  },
  plugin = {
    get_id = function() return state.cur and state.cur.conf and state.cur.conf.__plugin_id end,
    get_name = function() return state.cur and state.cur.plugin and state.cur.plugin.name end,
  },
  node = {
    get_id = function() return py.node_id() end,
    get_hostname = function() return py.hostname() end,
    get_memory_stats = function() return { workers_lua_vms = {}, lua_shared_dicts = {} } end,
  },
  nginx = {
    get_subsystem = function() return "http" end,
    get_var = function(name) return ngx.var[name] end,
    get_ctx = function(key) return ngx.ctx[key] end,
    set_ctx = function(key, value) ngx.ctx[key] = value end,
    req_start_time = function() return ngx.req.start_time() end,
    get_tls1_version_str = function() return nil end,
  },
  ip = { is_trusted = function(ip) return py.ip_trusted(ip) end },
  vault = { get = function() return nil, "vaults are not part of the sandbox" end, update = function(conf) return conf end },
  table = { new = require "table.new", clear = require "table.clear" },
  default_workspace = "0dc6f45b-8f8d-40d2-a504-473544ee190b",
}

-- kong.ctx.shared is one table a request, kong.ctx.plugin one a plugin and request.
kong.ctx = setmetatable({}, {
  __index = function(_, name)
    local cur = state.cur
    if not cur then return nil end
    if name == "shared" then return cur.shared end
    if name == "plugin" and cur.phase ~= "timer" then
      local key = cur.conf or cur
      local t = cur.plugin_ctx[key]
      if not t then
        t = {}
        cur.plugin_ctx[key] = t
      end
      return t
    end
  end,
})

return require("shim.phases").guard(kong)
