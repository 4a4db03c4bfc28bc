--- The express lane's gate plugins register their configs here; the guard asks once for all of them.
--
-- A chain is named by the md5 of its plugins' names and configs (docs/protocol.md), so the server is sent the
-- configs only when it does not know them.

local cjson = require "cjson.safe"
local mp = require "kong.plugins.kgate.mp"
local internals = require "kong.plugins.kgate.internals"
local problem = require "kong.plugins.kgate.problem"

local encode, array_mt, empty_array_mt = cjson.encode, cjson.array_mt, cjson.empty_array_mt
local type, pairs, getmetatable, rawequal = type, pairs, getmetatable, rawequal
local sort, concat, sub = table.sort, table.concat, string.sub
local ngx, kong = ngx, kong

local M = {}

-- what Kong itself adds to a config
local KONGS_OWN = {
  route_id = true, service_id = true, consumer_id = true, plugin_instance_name = true, ["$refs"] = true,
}

local to_json

local function is_array(t)
  local mt = getmetatable(t)
  return #t > 0 or (mt ~= nil and (mt == array_mt or mt == empty_array_mt))
end

-- Keys in order: the same config has the same hash in each worker and on each node.
local function object_to_json(t, skip)
  local keys = {}
  for key in pairs(t) do
    if type(key) == "string" and not (skip and (skip[key] or sub(key, 1, 2) == "__")) then
      keys[#keys + 1] = key
    end
  end
  sort(keys)
  for i = 1, #keys do
    local key = keys[i]
    keys[i] = encode(key) .. ":" .. to_json(t[key])
  end
  return "{" .. concat(keys, ",") .. "}"
end

function to_json(value)
  if type(value) ~= "table" then
    return encode(value) or error("a config holds a " .. type(value))
  end
  if not is_array(value) then
    return object_to_json(value)
  end
  local out = {}
  for i = 1, #value do
    out[i] = to_json(value[i])
  end
  return "[" .. concat(out, ",") .. "]"
end

--- A gate plugin's config as JSON, without what Kong added to it.
function M.config_json(conf)
  return object_to_json(conf, KONGS_OWN)
end

--- Called by each express plugin in access: this config runs on this request. Where the guard does not run nobody
-- would ask for a verdict: such a configuration is half applied, and closed.
function M.add(_, conf)
  local ctx = ngx.ctx
  local rec = ctx.kgate
  if not rec then
    if not internals.has_guard(ctx) then
      return kong.response.exit(problem.unavailable("unguarded", ngx.var.kong_request_id))
    end
    rec = {}
    ctx.kgate = rec
  end
  local n = (rec.n or 0) + 1
  rec.n = n
  rec[n] = conf
end

local gates = {} -- the handlers of the gate plugins
local registering = true

--- Give the handler of a gate plugin its access phase. (Express lane.)
function M.gate(handler)
  handler.access = M.add
  gates[#gates + 1] = handler
end

--- Whether the gate plugins register with each request, and setting it. They need not once it is known that the guard
-- runs and reads Kong's table right; a handler without the phase is a coroutine less for Kong to make and run.
function M.is_registering()
  return registering
end

function M.register(on)
  registering = on
  for i = 1, #gates do
    gates[i].access = on and M.add or nil
  end
end

--- Whether the registered configs are exactly those of the plan, in its order.
function M.is_complete(rec, plan)
  if (rec.n or 0) ~= plan.n then
    return false
  end
  for i = 1, plan.n do
    if not rawequal(rec[i], plan.confs[i]) then
      return false
    end
  end
  return true
end

--- The chain of a plan: { hash, head, mux_head, full_head, configs }, ready to be sent. Kept in the plan, which lives
-- as long as the configs it was made of; where Kong may change a config in place (vault references) it is made anew.
function M.of(plan)
  local found = plan.chain
  if found then
    return found
  end
  local material, items, keep = {}, {}, true
  for i = 1, plan.n do
    local conf = plan.confs[i]
    local json = M.config_json(conf)
    items[2 * i - 1], items[2 * i] = plan.names[i], json
    material[i] = plan.names[i] .. "\0" .. json .. "\0"
    keep = keep and conf["$refs"] == nil
  end
  local hash = ngx.md5(concat(material))
  found = { hash = hash, head = mp.text("d") .. mp.text(hash), configs = mp.pack(items),
    mux_head = "\x94" .. mp.text("M") .. mp.text(hash), full_head = "\x95" .. mp.text("M") .. mp.text(hash) }
  if keep then
    plan.chain = found
  end
  return found
end

return M
