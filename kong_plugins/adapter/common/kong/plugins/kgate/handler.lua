--- kgate: the guard of the gateway (global only). Strips the gateway's headers before routing, lets no request
-- pass its gate plugins without a verdict, applies the verdict, and answers for services that cannot.

local strip = require "kong.plugins.kgate.strip"
local guard = require "kong.plugins.kgate.guard"
local respond = require "kong.plugins.kgate.respond"
local probe = require "kong.plugins.kgate.probe"
local const = require "kong.plugins.kgate.const"

local pcall, byte = pcall, string.byte
local start_jit = require("jit.opt").start
local ngx, kong = ngx, kong

-- A frame between pcall and what it guards: LuaJIT compiles no function that returns to pcall itself.
local function guarded(work, conf)
  local status, body, headers = work(conf)
  return status, body, headers
end

local DOT = byte(".")

local Kgate = { PRIORITY = 1900, VERSION = const.VERSION }

-- LuaJIT gives a trace up at 500 constants, and at 15 tail calls, of which one look at ngx.var makes one or two. What
-- Kong does for a request, its plugins included, is past both and was interpreted in parts. Measured on 3.9.3: 48.5 to
-- 43.6 us of a request with the four gate plugins, in starts by turns.
function Kgate:init_worker()
  start_jit("maxirconst=1000", "loopunroll=30", "maxsnap=1000")
end

function Kgate:configure(confs)
  guard.configure(confs)
end

function Kgate:rewrite(conf)
  local var = ngx.var
  if byte(var.request_uri or "", 2) == DOT and var.uri == probe.PATH then -- Kong finds the first one faster
    return probe.answer(conf)
  end
  local ok, err = pcall(guarded, strip.run, conf.strip)
  if not ok then
    ngx.ctx.kgate_strip_failed = true -- gate routes answer 503 in access
    kong.log.err("kgate: rewrite: ", err)
  end
end

function Kgate:access(conf)
  local ok, status, body, headers = pcall(guarded, guard.decide, conf)
  if not ok then
    kong.log.err("kgate: access: ", status)
    status, body, headers = guard.broken()
  end
  if status then
    if status == 200 then
      -- nginx would judge these by the answer's ETag, and end the connection without an answer (Kong 3.9.3)
      ngx.req.clear_header("If-Match")
      ngx.req.clear_header("If-Unmodified-Since")
    end
    return kong.response.exit(status, body, headers)
  end
end

-- An error here would leave the client without any answer.
function Kgate:header_filter()
  local ok, err = pcall(guarded, respond.header_filter)
  if not ok then
    kong.log.err("kgate: header_filter: ", err)
  end
end

function Kgate:log(conf)
  local ok, err = pcall(guarded, respond.log, conf)
  if not ok then
    kong.log.err("kgate: log: ", err)
  end
end

return Kgate
