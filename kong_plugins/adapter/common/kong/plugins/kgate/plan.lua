--- What a route asks for: which gate plugins run on it, with which configs, and what happens without a verdict.
--
-- A plan is kept as long as the configuration and the route that it was made of.

local internals = require "kong.plugins.kgate.internals"
local vaults = require "kong.plugins.kgate.vaults"
local const = require "kong.plugins.kgate.const"

local setmetatable, type, sub = setmetatable, type, string.sub
local kong = kong

local M = {}

local GATE, PROTECTED_TAG, TENANT_TAG = const.GATE, const.PROTECTED_TAG, const.TENANT_TAG
local WEAK = { __mode = "k" }

local by_ws = setmetatable({}, WEAK) -- ws table -> { route table -> plan }
local UNREADABLE = {} -- stands for the ws table where there is none to read
local NO_ROUTE = {}

local function read_tags(plan, tags)
  if type(tags) ~= "table" then
    return
  end
  for i = 1, #tags do
    local tag = tags[i]
    if tag == PROTECTED_TAG then
      plan.protected = true
    elseif sub(tag, 1, #TENANT_TAG) == TENANT_TAG then
      plan.tenant = sub(tag, #TENANT_TAG + 1)
    end
  end
end

local function make(ws, route, service, why)
  local plan = {
    names = {}, -- the gate plugins in the order in which they run
    confs = {},
    n = 0,
    closed = false,
    protected = false,
    tenant = "",
    route = route and route.name or "",
    service = service and service.name or "",
    route_id = route and route.id or "",
    of_service = service,
    unreadable = ws == nil,
    deny = nil, -- reason id: the route must not be served at all
    headers = nil, -- names of those that the filters may see
  }
  local facts_conf = ws and internals.facts_conf(ws)
  plan.headers = facts_conf and facts_conf.headers or const.HEADERS
  read_tags(plan, route and route.tags)
  local has_passport = false
  if ws then
    for i = 1, #GATE do
      local name = GATE[i]
      local conf = internals.find_conf(ws, name, route and route.id, service and service.id)
      if conf then
        plan.n = plan.n + 1
        plan.names[plan.n] = name
        plan.confs[plan.n] = conf
        plan.closed = plan.closed or conf.fail ~= "open" -- the strictest wins
        vaults.settle(conf)
        has_passport = has_passport or name == "passport"
      end
    end
  end
  if plan.protected and not ws then
    plan.deny = "unreadable"
    kong.log.err("kgate: cannot read Kong's plugin table (", why, "): protected routes answer 503")
  elseif plan.protected and not has_passport then
    plan.deny = "unprotected"
  end
  return plan
end

--- The plan of the request with this ngx.ctx. own_name and own_conf are the adapter plugin that is running.
function M.of(ctx, own_name, own_conf)
  local ws, why = internals.workspace(ctx, own_name, own_conf, GATE)
  local route, service = ctx.route, ctx.service
  local plans = by_ws[ws or UNREADABLE]
  if not plans then
    vaults.settle(own_conf)
    vaults.settle(ws and internals.facts_conf(ws))
    plans = setmetatable({}, WEAK)
    by_ws[ws or UNREADABLE] = plans
  end
  local plan = plans[route or NO_ROUTE]
  if not plan or plan.of_service ~= service then
    plan = make(ws, route, service, why)
    plans[route or NO_ROUTE] = plan
  end
  return plan
end

return M
