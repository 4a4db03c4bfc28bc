--- header_filter and log: what the client gets, and what is told of it afterwards.

local internals = require "kong.plugins.kgate.internals"
local facts = require "kong.plugins.kgate.facts"
local fallback = require "kong.plugins.kgate.fallback"
local outcomes = require "kong.plugins.kgate.outcomes"
local problem = require "kong.plugins.kgate.problem"
local guard = require "kong.plugins.kgate.guard"
local cold = require "kong.plugins.kgate.cold"
local apply = require "kong.plugins.kgate.apply"

local floor, tostring = math.floor, tostring
local ngx, kong = ngx, kong

local M = {}

local NOTHING = {}
local REASON, MEMO = "X-Kgate-Reason", "X-Kgate-Memo" -- the server's word on an exit that an external plugin makes

-- pdk lane, the guard never ran: a gate plugin answered the client, or Kong answered 500 for a plugin that it could
-- not start.
local function undecided(rec, source, delayed)
  if source == "error" and delayed == 500 then
    local reason = "no_verdict"
    if not rec.wire then -- else the server did answer: it may be somebody's plugin between ours that failed
      reason = "server_away"
      guard.breaker:miss(ngx.now(), rec.asked)
    end
    rec.answered = true
    rec.verdict, rec.reason = "fail", reason
    return fallback.exit(problem.unavailable(reason, facts.request_id(ngx.ctx)))
  end
  if source == "exit" and delayed then
    guard.breaker:good()
    cold.done(rec, rec.plan, true)
    rec.answered = true
    rec.verdict = "exit"
    if rec.wire then -- said with the verdict
      return
    end
    rec.reason = kong.response.get_header(REASON) -- for the log, not for the client
    rec.memo = kong.response.get_header(MEMO)
    kong.response.clear_header(REASON)
    kong.response.clear_header(MEMO)
  end
end

local function swap_failure(ctx, rec, source, delayed)
  local status = ngx.status
  if status < 400 then -- no prepared answer is for these, and no breaker counts them
    return
  end
  local proxied = internals.was_proxied(ctx, ngx.var.upstream_status)
  local fits, word = fallback.classify(source, status, proxied, rec.passed, delayed, ctx.service)
  if not fits then
    return
  end
  if word then
    word = fallback.refine(word, ngx.var.upstream_connect_time)
    rec.failure = word
  end
  if not rec.prepared then
    return
  end
  local answer, token = fallback.choose(rec.prepared, status, word)
  if answer then
    rec.verdict, rec.reason = "fallback", token
    fallback.swap(answer, token, facts.request_id(ctx))
  end
end

--- header_filter: Kong's 500 for a cold plugin becomes our 503; a failed service's answer the prepared one; the
-- verdict's marks are set.
function M.header_filter()
  local ctx = ngx.ctx
  local rec = ctx.kgate
  if not rec or not rec.plan then
    return
  end
  local source = kong.response.get_source()
  rec.source = source
  if rec.answered then
    return
  end
  local delayed = internals.delayed_status(ctx)
  if not rec.decided then
    if rec.asked then
      undecided(rec, source, delayed)
    end
    return
  end
  swap_failure(ctx, rec, source, delayed)
  local marks = rec.marks or (rec.given and rec.given.h)
  if marks then
    apply.response_marks(marks) -- after the swap, which clears cookies
  end
end

local texts = {} -- of small numbers

local function digits(number)
  local text = texts[number]
  if not text then
    text = tostring(number)
    if number == floor(number) and number >= 0 and number < 600 then
      texts[number] = text
    end
  end
  return text
end

local fields = {} -- filled and packed without a yield between

--- log: the record for log plugins and one outcome.
function M.log(conf)
  local ctx = ngx.ctx
  local rec = ctx.kgate
  local plan = rec and rec.plan
  if not plan then
    return
  end
  if rec.trying then -- no answer of the plugins
    cold.done(rec, plan, false)
  end
  local given = rec.given or NOTHING
  local tenant, reason, arm = given.tn or plan.tenant, rec.reason or given.rs, rec.arm or given.a or ""
  if internals.has_logger(ctx) then
    kong.log.set_serialize_value("kgate", {
      tenant = tenant, verdict = rec.verdict or "none", reason = reason, arm = arm ~= "" and arm or nil,
    })
  end
  fields[1] = plan.route
  fields[2] = plan.service
  fields[3] = tenant
  fields[4] = digits(ngx.status)
  fields[5] = ngx.var.upstream_status or ""
  fields[6] = digits(internals.tries(ctx))
  fields[7] = rec.answered and "kgate" or rec.source or ""
  fields[8] = rec.failure or reason or ""
  fields[9] = arm
  fields[10] = given.m or rec.memo or ""
  local known = plan.kinds
  if not known then
    known = {}
    plan.kinds = known
  end
  local milliseconds = floor((ngx.now() - ngx.req.start_time()) * 1000 + 0.5)
  outcomes.add(conf.socket, known, fields, milliseconds > 0 and milliseconds or 0, rec.ip or "")
end

return M
