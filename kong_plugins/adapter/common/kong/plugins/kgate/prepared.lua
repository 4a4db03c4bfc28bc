--- Prepared answers, by content hash: fetched in access, used in header_filter (where nothing can be fetched).

local mp = require "kong.plugins.kgate.mp"
local express = require "kong.plugins.kgate.express"
local breakers = require "kong.plugins.kgate.breaker"
local verdicts = require "kong.plugins.kgate.verdict"
local apply = require "kong.plugins.kgate.apply"
local chains = require "kong.plugins.kgate.chain"
local lane = require "kong.plugins.kgate.lane"

local type, pairs, floor = type, pairs, math.floor
local ngx, kong = ngx, kong

local M = {}

local LIMIT_BYTES = 8 * 1024 * 1024
local ENTRY_BYTES, ANSWER_BYTES = 200, 300 -- a guess of what the tables take
local UNKNOWN_SECONDS = 1
local STEP_SECONDS, WAIT_SECONDS = 0.002, 0.35
local MAX_ROUTES, MAX_UNKNOWN = 10000, 1000

local entries, total, tick = {}, 0, 0 -- hash -> { answers, size, used }
local fetching = {} -- hash -> true while one request fetches it
local unknown, unknowns = {}, 0 -- hash -> time until which the server is not asked again
local last_of_route, routes = {}, 0 -- route id -> hash
local breaker = breakers.new()

local function is_list(list)
  if list == nil then
    return true
  end
  if type(list) ~= "table" then
    return false
  end
  for i = 1, #list do
    if type(list[i]) ~= "string" then
      return false
    end
  end
  return true
end

local function compile(answer)
  if type(answer) ~= "table" or type(answer.on) ~= "table" or type(answer.b) ~= "string"
    or type(answer.st) ~= "number" or answer.st < 200 or answer.st > 599 or answer.st ~= floor(answer.st)
    or (answer.nm ~= nil and type(answer.nm) ~= "string") or not verdicts.is_pairs(answer.h) then
    return nil
  end
  if not is_list(answer.md) or not is_list(answer.pt) or (answer.ac ~= nil and type(answer.ac) ~= "string")
    or (answer.ra ~= nil and type(answer.ra) ~= "number") or (answer.gs ~= nil and type(answer.gs) ~= "number") then
    return nil
  end
  local size = ANSWER_BYTES + #answer.b
  for i = 1, #(answer.h or {}) do
    size = size + #answer.h[i]
  end
  return { on = answer.on, status = answer.st, body = answer.b, name = answer.nm or "",
    headers = apply.headers(answer.h), methods = answer.md, paths = answer.pt, accept = answer.ac,
    retry_after = answer.ra, grpc_status = answer.gs, filled = answer.fi }, size
end

local function evict()
  while total > LIMIT_BYTES do
    local oldest, key
    for hash, entry in pairs(entries) do
      if not oldest or entry.used < oldest.used then
        oldest, key = entry, hash
      end
    end
    entries[key] = nil
    total = total - oldest.size
  end
end

--- Keep the answers that the server sent under their hash. Returns them in the form that fallback.lua uses, or nil
-- when they are not answers.
function M.store(hash, list)
  if type(list) ~= "table" then
    return nil
  end
  local answers, size = {}, ENTRY_BYTES
  for i = 1, #list do
    local answer, bytes = compile(list[i])
    if not answer then
      return nil
    end
    answers[i] = answer
    size = size + bytes
  end
  tick = tick + 1
  if entries[hash] then
    total = total - entries[hash].size
  end
  entries[hash] = { answers = answers, size = size, used = tick }
  total = total + size
  evict()
  return answers
end

--- The answers of a hash if this worker has them.
function M.get(hash)
  local entry = entries[hash]
  if not entry then
    return nil
  end
  tick = tick + 1
  entry.used = tick
  return entry.answers
end

-- The question for a hash. In the express lane with the config that it is of: the verdict may have come from another
-- process of the server than the one that is asked now, and that may not know the config yet.
local function question(hash, plan)
  local text = mp.text("p") .. mp.text(hash)
  for i = 1, plan and lane.is_express() and plan.n or 0 do
    if plan.names[i] == "static-fallback" then
      return "\x94" .. text .. mp.text(plan.names[i]) .. mp.text(chains.config_json(plan.confs[i]))
    end
  end
  return "\x92" .. text
end

local function fetch(socket, hash, plan, now)
  local until_time = unknown[hash]
  if (until_time and now < until_time) or not breaker:allow(now) then
    return nil
  end
  fetching[hash] = true
  local reply, err = express.call(socket, question(hash, plan))
  fetching[hash] = nil
  if not reply then
    breaker:miss(ngx.now(), now)
    kong.log.warn("kgate: cannot fetch prepared answers: ", err)
    return nil
  end
  breaker:good()
  local answers = reply.k == hash and M.store(hash, reply.r) or nil
  if answers then
    unknown[hash] = nil
  else
    unknowns = unknowns + 1
    if unknowns > MAX_UNKNOWN then
      unknown, unknowns = {}, 1
    end
    unknown[hash] = ngx.now() + UNKNOWN_SECONDS
  end
  return answers
end

-- Until the request that fetches them has them: of many that come first, together, all have what they may need.
local function wait(hash)
  local last = ngx.now() + WAIT_SECONDS
  repeat
    ngx.sleep(STEP_SECONDS)
  until not fetching[hash] or ngx.now() >= last
  return M.get(hash)
end

local function remember(route_id, hash)
  if last_of_route[route_id] == nil then
    routes = routes + 1
    if routes > MAX_ROUTES then
      last_of_route, routes = {}, 1
    end
  end
  last_of_route[route_id] = hash
end

--- Prepared answers without a verdict: the last ones that this route had in this worker.
function M.last_known(route_id)
  local hash = last_of_route[route_id]
  return hash and M.get(hash)
end

--- In access: the answers of a verdict's hash, fetched when this worker does not have them. A failed fetch costs at
-- most the express timeouts and never fails the request: then the last known ones serve.
-- plan: of the request, where there is one.
function M.obtain(socket, hash, route_id, plan)
  local answers = M.get(hash)
  if not answers and fetching[hash] then
    answers = wait(hash)
  elseif not answers then
    answers = fetch(socket, hash, plan, ngx.now())
  end
  if not answers then
    return M.last_known(route_id)
  end
  remember(route_id, hash)
  return answers
end

return M
