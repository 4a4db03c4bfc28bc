-- Which plugins run, in which order, and how a handler is suspended and resumed.
-- Rules: https://docs.konghq.com/gateway/latest/key-concepts/plugins/#precedence
local state = require "shim.state"
local answers = require "shim.pdk_response"
local threads = require "shim.thread"
local timers = require "shim.timers"
local pdk_call = require "shim.pdk_call"
local py = state.py

local M = {}
local plugins = {}                             -- all that are enabled, in order of execution
local OWN_LOG = { name = "sandbox-log", handler = { log = function() end } }
local ws = { plugins = { [0] = 0 }, combos = {}, globals = {} }
local started = false                          -- whether the plugins were told a configuration yet
local COLLECTED = { "response", "header_filter", "body_filter", "log" }

local function key(route_id, service_id, consumer_id)
  return (route_id or "") .. ":" .. (service_id or "") .. ":" .. (consumer_id or "")
end

function M.define(name, priority, version, handler)
  plugins[#plugins + 1] = { name = name, priority = priority, handler = handler, version = version }
end

function M.sort()
  table.sort(plugins, function(a, b)
    if a.priority ~= b.priority then return a.priority > b.priority end
    return a.name > b.name
  end)
  return plugins
end

-- A plugin that Python speaks to over a socket: its handler asks Python to run the event.
function M.external(name, phases)
  local handler = {}
  for _, phase in ipairs(phases) do
    if phase == "log" then
      handler.log = function(_, conf) py.external_log(state.cur, name, conf) end
    else
      handler[phase] = function(_, conf)
        local outcome, err = state.wait("external", state.cur, name, conf, phase)
        if outcome == "exit" then coroutine.yield(state.EXIT) end
        if outcome == "raise" then error(err, 0) end
      end
    end
  end
  return handler
end

-- Every plugin with a `configure` handler is told its enabled configs, or nil where it has none, before they are used
-- (kong/runloop/plugins_iterator.lua). An error there stops nothing.
local function tell(confs_of)
  local before = state.cur
  for _, plugin in ipairs(plugins) do
    if plugin.handler.configure then
      local r = state.new(nil)
      r.phase, r.plugin = started and "timer" or "init_worker", plugin
      state.cur = r
      local ok, err = pcall(plugin.handler.configure, plugin.handler, confs_of[plugin.name])
      if not ok then
        py.log(4, "failed to execute plugin '" .. plugin.name .. ":configure (" .. tostring(err) .. ")")
      end
    end
  end
  started, state.cur = true, before
end

-- instances: list of {name, route_id, service_id, consumer_id, conf}. Requests in flight keep the old tables.
function M.configure(instances)
  local combos, globals, confs_of = {}, {}, {}
  for _, instance in ipairs(instances) do
    local confs = confs_of[instance.name] or {}
    confs_of[instance.name] = confs
    confs[#confs + 1] = instance.conf
    combos[instance.name] = combos[instance.name] or {}
    combos[instance.name][key(instance.route_id, instance.service_id, instance.consumer_id)] = instance.conf
  end
  local loaded = { [0] = 0 }
  for _, plugin in ipairs(plugins) do
    if combos[plugin.name] then
      loaded[0] = loaded[0] + 1
      loaded[loaded[0]] = plugin
    end
  end
  for _, phase in ipairs { "rewrite", "header_filter", "body_filter", "log" } do
    local list = { [0] = 0 }
    for i = 1, loaded[0] do
      local plugin = loaded[i]
      local conf = combos[plugin.name]["::"]
      if conf and plugin.handler[phase] then
        list[list[0] + 1], list[list[0] + 2] = plugin, conf
        list[0] = list[0] + 2
      end
    end
    globals[phase] = list
  end
  -- the sandbox writes each request's record itself: for plugins that ask whether one logs, one does
  loaded[0] = loaded[0] + 1
  loaded[loaded[0]] = OWN_LOG
  combos[OWN_LOG.name] = {}
  tell(confs_of)
  ws = { plugins = loaded, combos = combos, globals = globals }
end

-- Scopes that the plugin's schema rules out: an instance there may be configured, but is never chosen.
function M.limit(name, scope)
  for _, plugin in ipairs(plugins) do
    if plugin.name == name then plugin["no_" .. scope] = true end
  end
end

local function choose(plugin, combos, ctx)
  local r = not plugin.no_route and ctx.route and ctx.route.id
  local s = not plugin.no_service and ctx.service and ctx.service.id
  local c = not plugin.no_consumer and ctx.authenticated_consumer and ctx.authenticated_consumer.id
  return r and s and c and combos[key(r, s, c)]
      or r and c and combos[key(r, nil, c)]
      or s and c and combos[key(nil, s, c)]
      or r and s and combos[key(r, s)]
      or c and combos[key(nil, nil, c)]
      or r and combos[key(r)]
      or s and combos[key(nil, s)]
      or combos["::"]
end

-- Runs on until the handler waits or ends: "done", "exit", "error", or "wait", op, arguments.
local function settle(r, ok, op, ...)
  local job = r.job
  if not ok then
    r.job = nil
    local trace = type(op) == "string" and debug.traceback(job.co, op) or tostring(op)
    py.log(4, "[" .. (r.plugin and r.plugin.name or "timer") .. "] " .. trace)
    return "error", trace
  end
  if coroutine.status(job.co) == "dead" then
    r.job = nil
    return "done"
  end
  if op == state.EXIT then
    r.job = nil
    return "exit"
  end
  return "wait", op, ...
end

local function start(r, plugin, conf, phase)
  local co = coroutine.create(plugin.handler[phase])
  r.plugin, r.conf = plugin, conf
  r.job = { co = co }
  return settle(r, coroutine.resume(co, plugin.handler, conf))
end

local next_access

local function after_access(r, i, outcome, op, ...)
  if outcome == "wait" then return "wait", op, ... end
  local ctx = r.ctx
  if outcome == "error" then
    ctx.delayed_response = { status_code = 500, content = { message = "An unexpected error occurred" }, unexpected = true }
    ctx.KONG_UNEXPECTED = true
  elseif outcome == "exit" and not ctx.delayed_response then
    r.left = true                              -- ngx.exit: nothing else runs
    return "exit"
  end
  return next_access(r, i + 1)
end

function next_access(r, i)
  local ctx = r.ctx
  local mine = ctx.plugins.ws
  while i <= mine.plugins[0] do
    local plugin = mine.plugins[i]
    local conf = choose(plugin, mine.combos[plugin.name], ctx)
    if conf then
      local collected = ctx.plugins
      for _, phase in ipairs(COLLECTED) do
        if plugin.handler[phase] then
          local list = collected[phase]
          list[list[0] + 1], list[list[0] + 2] = plugin, conf
          list[0] = list[0] + 2
          if phase == "response" then ctx.buffered_proxying = true end
        end
      end
      if plugin.handler.access and not ctx.delayed_response then
        r.i = i
        return after_access(r, i, start(r, plugin, conf, "access"))
      end
    end
    i = i + 1
  end
  r.plugin, r.conf = nil, nil
  ctx.delay_response = nil
  if ctx.delayed_response then
    answers.flush()
    return "exit"
  end
  return "done"
end

local next_rewrite

local function after_rewrite(r, i, outcome, ...)
  if outcome == "done" then return next_rewrite(r, i + 2) end
  return outcome, ...
end

function next_rewrite(r, i)
  local list = ws.globals.rewrite
  if not list or i > list[0] then
    r.plugin, r.conf = nil, nil
    return "done"
  end
  r.i = i
  return after_rewrite(r, i, start(r, list[i], list[i + 1], "rewrite"))
end

function M.rewrite(r)
  state.cur, r.phase = r, "rewrite"
  return next_rewrite(r, 1)
end

function M.access(r, route, service)
  state.cur, r.phase = r, "access"
  local ctx = r.ctx
  ctx.route, ctx.service = route, service
  ctx.plugins = { ws = ws, response = { [0] = 0 }, header_filter = { [0] = 0 }, body_filter = { [0] = 0 }, log = { [0] = 0 } }
  if service then
    ctx.balancer_data = {
      type = py.host_type(service.host), host = service.host, port = service.port, scheme = service.protocol,
      try_count = 0, retries = service.retries, tries = {},
    }
  end
  ctx.delay_response = true
  return next_access(r, 1)
end

local next_response

local function after_response(r, i, outcome, ...)
  if outcome == "done" then return next_response(r, i + 2) end
  return outcome, ...
end

function next_response(r, i)
  local list = r.ctx.plugins.response
  if i > list[0] then
    r.plugin, r.conf = nil, nil
    return "done"
  end
  r.i = i
  return after_response(r, i, start(r, list[i], list[i + 1], "response"))
end

-- A plugin has a `response` phase, or asked for it: the upstream's answer is read before anything goes to the client.
function M.buffers(r) return r.ctx.buffered_proxying == true end

function M.response(r, status, body)
  state.cur, r.phase = r, "response"
  r.ctx.buffered_status, r.ctx.buffered_body = status, body
  return next_response(r, 1)
end

-- Continue what waited, with the results of its wait.
function M.resume(r, ...)
  state.cur = r
  local job = r.job
  if r.phase == "access" then
    return after_access(r, r.i, settle(r, coroutine.resume(job.co, ...)))
  elseif r.phase == "rewrite" then
    return after_rewrite(r, r.i, settle(r, coroutine.resume(job.co, ...)))
  elseif r.phase == "response" then
    return after_response(r, r.i, settle(r, coroutine.resume(job.co, ...)))
  end
  return settle(r, coroutine.resume(job.co, ...))
end

-- header_filter and log: nothing may wait here. Returns true, or false at the first error.
function M.output(r, phase)
  state.cur, r.phase = r, phase
  local list = r.ctx.plugins and r.ctx.plugins[phase] or ws.globals[phase]
  if not list then return true end
  for i = 1, list[0], 2 do
    local plugin, conf = list[i], list[i + 1]
    r.plugin, r.conf = plugin, conf
    local ok, err = xpcall(plugin.handler[phase], debug.traceback, plugin.handler, conf)
    if not ok then
      py.log(4, "[" .. plugin.name .. "] " .. phase .. ": " .. tostring(err))
      return false
    end
  end
  r.plugin, r.conf = nil, nil
  return true
end

-- One part of a body through body_filter. Returns false at an error, else the part to send.
function M.body_filter(r, part, last)
  state.cur, r.phase = r, "body_filter"
  local list = r.ctx.plugins and r.ctx.plugins.body_filter or ws.globals.body_filter
  r.arg = { part, last }
  for i = 1, list and list[0] or 0, 2 do
    local plugin, conf = list[i], list[i + 1]
    r.plugin, r.conf = plugin, conf
    local ok, err = xpcall(plugin.handler.body_filter, debug.traceback, plugin.handler, conf)
    if not ok then
      py.log(4, "[" .. plugin.name .. "] body_filter: " .. tostring(err))
      return false
    end
  end
  r.plugin, r.conf = nil, nil
  return r.arg[1] or ""
end

function M.has_body_filter(r)
  local list = r.ctx.plugins and r.ctx.plugins.body_filter or ws.globals.body_filter
  return list ~= nil and list[0] > 0
end

-- What kong.log.serialize says at the end of a request.
function M.record(r) return kong.log.record(r) end

-- nginx or the balancer made the answer: the output filters see why.
function M.mark(r, name) r.ctx[name] = true end

-- Plugins of the scope are known even when access did not run to its end (a bad request has none).
function M.init_worker()
  for _, plugin in ipairs(plugins) do
    if plugin.handler.init_worker then
      local r = state.new(nil)
      r.phase, r.plugin = "init_worker", plugin
      state.cur = r
      local ok, err = xpcall(plugin.handler.init_worker, debug.traceback, plugin.handler)
      if not ok then py.log(4, "[" .. plugin.name .. "] init_worker: " .. tostring(err)) end
    end
  end
end

M.call_pdk, M.resume_pdk = pdk_call.call_pdk, pdk_call.resume_pdk
threads.set_settle(settle)
timers.set_settle(settle)
M.fire = timers.fire
M.thread_pending, M.thread_resume, M.thread_lost = threads.pending, threads.resume, threads.lost

M.new = state.new
return M
