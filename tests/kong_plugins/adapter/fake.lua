--- A small stand-in for what the adapter sees of nginx and Kong: one request at a time, everything recorded.
-- `phases` runs handlers as Kong 3.9.3 does: access in coroutines, a delayed answer ends it, header_filter and log
-- run always.
local host = ... -- Python functions: md5, encode, decode

local fake = {
  now = 1000, errors = {}, warnings = {}, timers = {}, exits = {}, serialize = {}, set_headers = {},
  wait = {}, set_by_kong = {}, cleared_headers = {}, upstreams = {}, sockets = {}, upstream_known = true,
}

local function key(name)
  return (name:lower():gsub("-", "_"))
end

local request_headers = {} -- list of { name, value }

local var = setmetatable({}, {
  __index = function(_, name)
    if name:sub(1, 5) ~= "http_" then
      return fake.vars[name]
    end
    local found
    for _, header in ipairs(request_headers) do
      if key(header[1]) == name:sub(6) then
        found = found and found .. ", " .. header[2] or header[2]
      end
    end
    return found or fake.vars[name]
  end,
})

local function clear(name)
  for i = #request_headers, 1, -1 do
    if request_headers[i][1]:lower() == name:lower() then
      table.remove(request_headers, i)
    end
  end
end

local response = {}
local header = setmetatable({}, {
  __index = function(_, name) return response[name:lower()] end,
  __newindex = function(_, name, value) response[name:lower()] = value end,
})

ngx = {
  null = host.null, var = var, ctx = {}, status = 200, header = header,
  now = function() return fake.now end,
  http_time = function(at) return os.date("!%a, %d %b %Y %H:%M:%S GMT", at) end,
  md5 = host.md5,
  worker = { pid = function() return 7 end, exiting = function() return false end },
  timer = {
    at = function(delay, f)
      if fake.no_timers then return nil, "too many pending timers" end
      fake.timers[#fake.timers + 1] = { delay, f }
      return true
    end,
  },
  req = {
    get_method = function() return fake.method end,
    start_time = function() return fake.started end,
    clear_header = clear,
    set_header = function(name, value)
      if type(value) ~= "string" or fake.refuse_headers then error("invalid header value") end
      fake.set_headers[name] = value
      clear(name)
      request_headers[#request_headers + 1] = { name, value }
    end,
    get_headers = function()
      local out = {}
      for _, h in ipairs(request_headers) do out[h[1]] = h[2] end
      return out
    end,
  },
  resp = {
    get_headers = function()
      local out = {}
      for name, value in pairs(response) do out[name] = value end
      return out
    end,
  },
  socket = {
    tcp = function()
      fake.dials = (fake.dials or 0) + 1
      return fake.dial(fake.dials)
    end,
  },
}

local function join(...)
  local out = {}
  for i = 1, select("#", ...) do out[i] = tostring((select(i, ...))) end
  return table.concat(out)
end

kong = {
  ctx = { shared = {} },
  plugin = { get_id = function() return fake.plugin_id end },
  log = {
    err = function(...) fake.errors[#fake.errors + 1] = join(...) end,
    warn = function(...) fake.warnings[#fake.warnings + 1] = join(...) end,
    set_serialize_value = function(name, value, options)
      fake.serialize[#fake.serialize + 1] = { name, value, options and options.mode or "set" }
    end,
  },
  request = {
    get_path = function() return fake.path end,
    get_raw_path = function() return fake.raw_path end,
    get_method = function() return fake.method end,
    get_header = function(name) return var["http_" .. key(name)] end,
  },
  service = {
    request = {
      set_header = function(name, value)
        if type(value) ~= "string" or fake.refuse_headers then error("invalid header value") end
        fake.set_by_kong[name] = value
      end,
      clear_header = function(name) fake.cleared_headers[#fake.cleared_headers + 1] = name end,
    },
    set_retries = function(count) fake.retries = count end,
    set_upstream = function(name)
      if not fake.upstream_known then return nil, "could not find an Upstream named '" .. name .. "'" end
      fake.upstreams[#fake.upstreams + 1] = name
      return true
    end,
  },
  response = {
    get_source = function()
      local ctx = ngx.ctx
      return ctx.KONG_UNEXPECTED and "error" or ctx.KONG_EXITED and "exit" or ctx.KONG_PROXIED and "service" or "error"
    end,
    exit = function(status, body, headers)
      local ctx = ngx.ctx
      ctx.KONG_EXITED = true
      fake.exits[#fake.exits + 1] = { status, body, headers }
      if ctx.delay_response and not ctx.delayed_response then
        ctx.delayed_response = { status_code = status, content = body, headers = headers }
        coroutine.yield()
        return
      end
      ngx.status = status
      for name, value in pairs(headers or {}) do header[name] = value end
      fake.body = body
    end,
    set_header = function(name, value) header[name] = value end,
    add_header = function(name, value)
      local before = header[name]
      header[name] = before and { before, value } or value
    end,
    clear_header = function(name) header[name] = nil end,
    get_header = function(name) return header[name] end,
  },
}

package.loaded["cjson.safe"] = { encode = host.encode, decode = host.decode, array_mt = host.array_mt }
-- one request at a time, no light threads: the adapter asks on a connection of its own (threads.lua has the others)
package.loaded["ngx.semaphore"] = { new = function() return nil, "no semaphores here" end }
package.loaded["kong.db.schema.typedefs"] = {
  no_consumer = "no_consumer", no_route = "no_route", no_service = "no_service", protocols_http = "protocols_http",
}

--- A new request. `t`: vars, headers (list of pairs), method, path, ctx fields.
function fake.request(t)
  request_headers = t.headers or {}
  response = {}
  fake.vars = t.vars or {}
  fake.vars.kong_request_id = fake.vars.kong_request_id or "rid1"
  fake.vars.remote_addr = fake.vars.remote_addr or "192.0.2.1"
  fake.started = t.started or fake.now
  fake.method, fake.path, fake.raw_path = t.method or "GET", t.path or "/a", t.raw_path or t.path or "/a"
  ngx.ctx = t.ctx or {}
  ngx.status = 200
  kong.ctx.shared = {}
  fake.exits, fake.serialize, fake.set_headers, fake.upstreams, fake.body = {}, {}, {}, {}, nil
  fake.cleared_headers, fake.set_by_kong = {}, {}
end

function fake.request_headers() return request_headers end
function fake.response_headers() return response end

--- Run a request through plugins = list of { name, handler, conf } in their order. `upstream` is a function that plays
-- the service: it sets ngx.status, response headers, and ctx fields.
function fake.phases(plugins, upstream)
  local ctx = ngx.ctx
  for _, p in ipairs(plugins) do
    if p[2].rewrite then p[2].rewrite(p[2], p[3]) end
  end
  ctx.delay_response = true
  for _, p in ipairs(plugins) do
    if p[2].access and not ctx.delayed_response then
      local co = coroutine.create(p[2].access)
      local ok, err = coroutine.resume(co, p[2], p[3])
      while ok and err == fake.wait do -- in a light thread (threads.lua), for what others bring
        coroutine.yield(fake.wait)
        ok, err = coroutine.resume(co)
      end
      if not ok then
        ctx.delayed_response = { status_code = 500, content = err }
        ctx.KONG_UNEXPECTED = true
      end
    end
  end
  ctx.delay_response = nil
  if ctx.delayed_response then
    ngx.status = ctx.delayed_response.status_code
    fake.body = ctx.delayed_response.content
    for name, value in pairs(ctx.delayed_response.headers or {}) do header[name] = value end
  elseif upstream then
    fake.reached = (fake.reached or 0) + 1
    upstream(ctx)
  else
    fake.reached = (fake.reached or 0) + 1
    ctx.KONG_PROXIED = true
  end
  for _, phase in ipairs({ "header_filter", "log" }) do
    for _, p in ipairs(plugins) do
      if p[2][phase] then p[2][phase](p[2], p[3]) end
    end
  end
  return ngx.status, fake.body
end

--- The ngx.ctx of a route whose gate plugins are confs = { name = conf }; own: the adapter's confs by name.
function fake.ctx(route, service, confs, own, scope)
  local combos = {}
  for name, conf in pairs(own) do combos[name] = { ["::"] = conf } end
  for name, conf in pairs(confs) do combos[name] = { [scope or route.id .. "::"] = conf } end
  return { route = route, service = service, plugins = { ws = { combos = combos } }, balancer_data = { type = "name" } }
end

return fake
