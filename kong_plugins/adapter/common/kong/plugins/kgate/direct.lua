--- pdk lane: what the plugin server has Kong call for a gate plugin (docs/protocol.md). An external plugin calls
-- functions of the PDK by name, and these two stand in its table: `kong.kgate.step` and `kong.kgate.verdict`.
--
-- An event of a plugin ends with the answer "ret", which takes one more message, or when a called function does not
-- return: kong.response.exit yields, and Kong drops the plugin's coroutine and goes on. These do the same, and the
-- verdict is asked for on a connection that many requests share (mux.lua). Four plugins take four messages that way,
-- and nine where they read and write kong.ctx.shared.

local mp = require "kong.plugins.kgate.mp"
local mux = require "kong.plugins.kgate.mux"
local facts = require "kong.plugins.kgate.facts"
local verdicts = require "kong.plugins.kgate.verdict"
local apply = require "kong.plugins.kgate.apply"
local internals = require "kong.plugins.kgate.internals"
local problem = require "kong.plugins.kgate.problem"

local concat, type, yield = table.concat, type, coroutine.yield
local ngx, kong = ngx, kong

local M = {}

--- Whether the server has called: it then does so for every request, because Kong's sockets stay the same.
M.used = false

local scratch = {} -- filled and packed without a yield between

-- Where there is no shared connection, the server is asked by Kong's messages for a while, and that is told: it costs
-- twice as much, and nothing else shows it.
local ALONE_SECONDS, TELL_SECONDS = 1, 60
local alone_until, tell_at = 0, 0

local function go_alone(err)
  local now = ngx.now()
  alone_until = now + ALONE_SECONDS
  if now >= tell_at then
    tell_at = now + TELL_SECONDS
    kong.log.warn("kgate: no shared connection to the plugin server, its plugin sockets are used: ", err)
  end
end

-- Kong's packer calls a function that it is to pack with its buffer (kong/runloop/plugin_servers/rpc/mp_rpc.lua): what
-- we have packed goes into the message as it is.
local function write(buffer)
  buffer[#buffer + 1] = ngx.ctx.kgate.packed
end

-- The ids with what is sent of them, made once: they stay with the plan.
local function prepare(ids, n)
  local parts = { mp.array(n) }
  for i = 1, n do
    parts[i + 1] = mp.int(ids[i])
  end
  ids.packed = concat(parts)
  ids.mux_head = "\x94" .. mp.text("I") .. ids.packed
end

-- Which of the plan's gate plugins is running.
local function place(plan)
  local id = kong.plugin.get_id()
  for i = 1, plan.n do
    if plan.confs[i].__plugin_id == id then
      return i
    end
  end
end

local function all(ids, n)
  for i = 1, n do
    if ids[i] == nil then
      return nil
    end
  end
  return ids
end

-- A verdict that answers the client does so here, but for a 200: that is the guard's, which takes If-Match away first.
local function conclude(rec, verdict, sound)
  local ids = rec.ids
  if type(verdict) == "table" and verdict.e == "ids" and ids ~= rec.said then
    -- by what was known before; a new server that does not know all of them yet: they are said again
    if rec.plan.ids == ids then
      rec.plan.ids = nil
    end
    rec.ids = nil
    return yield()
  end
  rec.wire, rec.sound = verdict or false, sound
  if not sound and verdicts.is_valid(verdict, rec.id) and verdict.st and verdict.st ~= 200 then
    rec.given = verdict
    return kong.response.exit(verdict.st, verdict.b or "", apply.headers(verdict.h))
  end
  return yield()
end

--- A gate plugin runs with the config of this id. Returns what the server decides by, where it is to decide now: with
-- the ids that the plan's last verdict had at the first plugin, else at the last one, when all have said theirs.
function M.step(id)
  M.used = true
  local ctx = ngx.ctx
  local rec = ctx.kgate
  local plan = rec and rec.plan
  if not rec and not internals.has_guard(ctx) then -- the adapter is loaded, and not in Kong's configuration
    return kong.response.exit(problem.unavailable("unguarded", facts.request_id(ctx)))
  end
  local at = plan and type(id) == "number" and place(plan)
  if not at then
    return yield()
  end
  if rec.wire ~= nil then
    if rec.ids[at] ~= id then -- decided with another config of this plugin
      rec.wire = false
    end
    return yield()
  end
  local said = rec.said or {}
  rec.said = said
  said[at] = id
  local known = plan.ids
  if known and known[at] ~= id then -- another server names this plugin's config otherwise: all say theirs
    plan.ids, known = nil, nil
  end
  local ids = known or at == plan.n and all(said, at)
  if not ids then
    return yield()
  end
  rec.ids = ids
  if not ids.packed then
    prepare(ids, plan.n)
  end
  if ngx.now() >= alone_until then
    local n = facts.fill(scratch, ctx, plan, plan.headers)
    local verdict, sound, again = mux.ask(rec.socket, ids, scratch, n)
    if verdict then
      return conclude(rec, verdict, sound)
    end
    if not again then
      kong.log.err("kgate: no answer of the plugin server: ", sound)
      rec.wire = false
      return yield()
    end
    go_alone(sound)
  end
  local n = facts.fill(scratch, ctx, plan, plan.headers)
  rec.packed = "\x92" .. facts.packed(scratch, n) .. ids.packed
  return write
end

--- The server's verdict, packed.
function M.verdict(packed)
  local rec = ngx.ctx.kgate
  if not (rec and rec.ids) then
    return yield()
  end
  rec.packed = nil
  return conclude(rec, mp.decode(packed), false)
end

kong.kgate = { step = M.step, verdict = M.verdict }

return M
