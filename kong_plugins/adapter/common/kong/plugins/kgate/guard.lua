--- The gate: no request passes a route's gate plugins without a verdict. Nothing is decided here but that.
--
-- The record of a request (ngx.ctx.kgate) goes from phase to phase; each phase may find it absent. `collect` and
-- `decide` return nothing (the request goes on) or status, body, headers for kong.response.exit: the
-- exit itself is the handler's, outside its pcall, because in access it never returns.

local internals = require "kong.plugins.kgate.internals"
local plans = require "kong.plugins.kgate.plan"
local facts = require "kong.plugins.kgate.facts"
local leases = require "kong.plugins.kgate.leases"
local chains = require "kong.plugins.kgate.chain"
local express = require "kong.plugins.kgate.express"
local mux = require "kong.plugins.kgate.mux"
local breakers = require "kong.plugins.kgate.breaker"
local cold = require "kong.plugins.kgate.cold"
local verdicts = require "kong.plugins.kgate.verdict"
local prepared = require "kong.plugins.kgate.prepared"
local problem = require "kong.plugins.kgate.problem"
local apply = require "kong.plugins.kgate.apply"
local lane = require "kong.plugins.kgate.lane"
local direct = require "kong.plugins.kgate.direct"
local const = require "kong.plugins.kgate.const"
local new_table = require "table.new"

local ngx, kong, tostring, ipairs, type = ngx, kong, tostring, ipairs, type

local M = {}

local breaker = breakers.new()
M.breaker = breaker

local function open(ctx, plan)
  local rec = ctx.kgate -- a gate plugin may have made it
  if not rec then
    rec = new_table(0, 8) -- for the fields that nearly all get
    ctx.kgate = rec
  end
  rec.plan = plan
  return rec
end

-- The gateway's own answer. It marks the record, so that no later phase takes it for a failed service's.
local function deny(rec, reason)
  rec.answered = true
  rec.verdict, rec.reason = "fail", reason
  return problem.unavailable(reason, facts.request_id(ngx.ctx))
end

-- What must stop a request of a gate route before anything is asked.
local function standing_denial(ctx, plan)
  return plan.deny or (ctx.kgate_strip_failed and "adapter_error")
    or (not internals.has_guard(ctx) and "unguarded") or nil
end

--- access, kgate-facts (1906), pdk lane: default deny, the breaker, and the record for the gate plugins.
function M.collect(conf)
  local ctx = ngx.ctx
  local plan = plans.of(ctx, "kgate-facts", conf)
  if plan.n == 0 and not plan.protected then
    return
  end
  local rec = open(ctx, plan)
  local reason = standing_denial(ctx, plan)
  if reason then
    return deny(rec, reason)
  end
  -- With fail: open the request goes on: Kong calls its external plugins whatever we know.
  if plan.closed then
    cold.wait(plan)
  end
  local now = ngx.now()
  if not breaker:allow(now) and plan.closed then
    return deny(rec, "breaker_open")
  end
  cold.try(rec, plan)
  rec.asked = now
  rec.id = facts.request_id(ctx)
  rec.ip = facts.ip()
  rec.socket = conf.socket
  if direct.used then
    return
  end
  local list = {}
  facts.fill(list, ctx, plan, conf.headers)
  kong.ctx.shared.kgate = { v = const.PROTOCOL, f = list, g = plan.names, ids = {}, k = plan.ids }
end

local scratch = {} -- filled and packed without a yield between
local AGAIN_SECONDS = 0.15 -- a question that failed later than this is not asked again: the client waits

local configured = false -- whether Kong's newest configuration has the guard as a global plugin

--- configure, kgate: Kong is about to use another configuration. The gate plugins register again until one request has
-- shown that their list is read right in it. (Kong 3.4 has no such phase: there they always do.)
function M.configure(confs)
  configured = false
  for _, conf in ipairs(confs or {}) do
    if not (conf.route_id or conf.service_id or conf.consumer_id) then
      configured = true
    end
  end
  chains.register(true)
end

-- Express lane: the verdict, or nil and the reason id.
local function ask(ctx, rec, plan, socket)
  if chains.is_registering() then
    if not chains.is_complete(rec, plan) then
      return nil, "no_verdict"
    end
    chains.register(not configured)
  end
  local now, headers = ngx.now(), plan.headers
  local n = facts.fill_alike(scratch, headers)
  rec.ip = scratch[3]
  local verdict = leases.find(plan, scratch, n, now)
  if verdict then
    return verdict
  end
  if not breaker:allow(now) then
    return nil, "breaker_open"
  end
  local chain = chains.of(plan)
  facts.fill_own(scratch, ctx, plan)
  rec.id = scratch[2]
  local sound, from, err, again
  verdict, sound, from = mux.ask(socket, chain, scratch, n)
  if verdict and verdict.e == "config" then
    -- to the same process: by a connection of its own the configs would reach another one, or none that knows them
    n = facts.fill(scratch, ctx, plan, headers) -- another request has filled it in between
    verdict, sound, from = mux.ask(socket, chain, scratch, n, true)
  end
  if not verdict then
    err, again, sound = sound, from, false
  end
  if (again and ngx.now() - now < AGAIN_SECONDS) or (verdict and verdict.e == "config") then
    n = facts.fill(scratch, ctx, plan, headers)
    verdict, err = express.decide(socket, chain, facts.packed(scratch, n))
    sound = false
  end
  if not verdict then
    breaker:miss(ngx.now(), now)
    kong.log.err("kgate: no answer of the plugin server: ", err)
    return nil, "server_away"
  end
  breaker:good()
  if verdict.e ~= nil or verdict.ch ~= chain.hash or not (sound or verdicts.is_valid(verdict, rec.id)) then
    kong.log.err("kgate: no verdict: ", verdict.e or "not a verdict on this request")
    return nil, verdicts.reason(verdict, rec.id)
  end
  if sound and verdict.l and plan.chain == chain then
    n = facts.fill_alike(scratch, headers)
    leases.keep(plan, scratch, n, verdict, from, ngx.now())
  end
  return verdict
end

-- pdk lane: the verdict that the gate plugins' server left.
local function take(rec, plan)
  local verdict, ids = rec.wire, rec.ids
  if not direct.used then
    verdict = kong.ctx.shared.kgate
    ids = type(verdict) == "table" and verdict.ids
  end
  if verdicts.is_error(verdict, rec.id) then
    breaker:good()
    cold.done(rec, plan, true)
    plan.ids = nil
    kong.log.err("kgate: no verdict: ", tostring(verdict.e))
    return nil, verdicts.reason(verdict, rec.id)
  end
  local sound = verdict and rec.sound or verdicts.is_valid(verdict, rec.id)
  if not sound or not verdicts.has_ids(ids, plan.n) then
    if rec.asked then
      breaker:miss(ngx.now(), rec.asked)
    end
    cold.done(rec, plan, false)
    return nil, "no_verdict"
  end
  breaker:good()
  cold.done(rec, plan, true)
  plan.ids = plan.ids or ids -- of this configuration: the plan does not outlive it
  return verdict
end

local function without_verdict(rec, plan, reason)
  if plan.closed then
    return deny(rec, reason)
  end
  rec.passed = true
  rec.verdict, rec.reason = "degraded", reason
  rec.marks = { "X-Kgate-Degraded", reason }
  rec.prepared = prepared.last_known(plan.route_id)
end

local function with_verdict(ctx, rec, plan, verdict, socket)
  rec.given = verdict
  if verdict.st then
    rec.answered = true
    rec.verdict = "exit"
    return verdict.st, verdict.b or "", apply.headers(verdict.h)
  end
  if not apply.request_effects(ctx, verdict) then
    rec.reason, rec.arm = "no_upstream", ""
  end
  if verdict.p and verdict.p ~= "" then
    rec.prepared = prepared.obtain(socket, verdict.p, plan.route_id, plan)
  end
  rec.passed = true
  rec.verdict = "pass"
end

--- access, kgate (1900): the verdict, checked and applied, or the fail answer.
function M.decide(conf)
  local ctx = ngx.ctx
  local rec = ctx.kgate
  local plan = rec and rec.plan
  if not plan then -- the express lane, or a route without gate plugins, or kgate-facts is not there
    plan = plans.of(ctx, "kgate", conf)
    if plan.unreadable and not chains.is_registering() then -- this request may have gate plugins: nobody knows
      chains.register(true)
      return deny(open(ctx, plan), "unreadable")
    end
    if plan.n == 0 and not plan.protected and not rec then
      return
    end
    rec = open(ctx, plan)
    local reason = standing_denial(ctx, plan)
    if reason then
      return deny(rec, reason)
    end
  end
  rec.decided = true
  if plan.n == 0 then -- gate plugins ran that we cannot find in Kong's table
    return deny(rec, "unreadable")
  end
  local verdict, reason
  if lane.is_express() then
    verdict, reason = ask(ctx, rec, plan, conf.socket)
  else
    verdict, reason = take(rec, plan)
  end
  if not verdict then
    return without_verdict(rec, plan, reason)
  end
  local status, body, headers = with_verdict(ctx, rec, plan, verdict, conf.socket) -- no tail call: see handler.lua
  return status, body, headers
end

--- After an error of ours in access: the answer on gate routes, nothing on the others.
function M.broken()
  local ctx = ngx.ctx
  local rec = ctx.kgate
  local plan = rec and rec.plan
  if plan and plan.n == 0 and not plan.protected and not rec.n then
    return
  end
  if not rec then
    rec = {}
    ctx.kgate = rec
  end
  return deny(rec, "adapter_error")
end

return M
