-- Kong's cors, thin: plain origins and `*`; a preflight is answered here with 200.
local H = { PRIORITY = 2000, VERSION = "3.9.3" }

local function allowed_origin(conf)
  local origins = conf.origins
  if not origins or #origins == 0 then return "*" end
  local origin = kong.request.get_header("origin")
  for _, candidate in ipairs(origins) do
    if candidate == "*" and not conf.credentials then return "*" end
    if candidate == "*" or candidate == origin then return origin, true end
  end
  return nil, true
end

local function set_origin(conf)
  local origin, varies = allowed_origin(conf)
  if varies then kong.response.add_header("Vary", "Origin") end
  if not origin then return false end
  kong.response.set_header("Access-Control-Allow-Origin", origin)
  if conf.credentials then kong.response.set_header("Access-Control-Allow-Credentials", "true") end
  return true
end

function H:access(conf)
  if kong.request.get_method() ~= "OPTIONS"
     or not kong.request.get_header("Origin")
     or not kong.request.get_header("Access-Control-Request-Method") then
    return
  end
  kong.ctx.plugin.preflight = true
  if conf.preflight_continue then return end
  if set_origin(conf) then
    local headers = conf.headers and #conf.headers > 0 and table.concat(conf.headers, ",")
      or kong.request.get_header("Access-Control-Request-Headers")
    if headers then kong.response.set_header("Access-Control-Allow-Headers", headers) end
    kong.response.set_header("Access-Control-Allow-Methods", table.concat(conf.methods, ","))
    if conf.max_age then kong.response.set_header("Access-Control-Max-Age", conf.max_age) end
  end
  return kong.response.exit(200)
end

function H:header_filter(conf)
  if kong.ctx.plugin.preflight and not conf.preflight_continue then return end
  if set_origin(conf) and conf.exposed_headers and #conf.exposed_headers > 0 then
    kong.response.set_header("Access-Control-Expose-Headers", table.concat(conf.exposed_headers, ","))
  end
end

local typedefs = require "kong.db.schema.typedefs"
-- "*", a plain origin, or a regular expression.
local function valid_origin(value)
  if value == "*" then return true end
  local ok = pcall(ngx.re.find, "just a string to test", value)
  if not ok then return nil, "'" .. value .. "' is not a valid regex" end
  return true
end

local METHODS = { "GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT" }
return {
  handler = H,
  schema = {
    name = "cors",
    fields = {
      { consumer = typedefs.no_consumer },
      { protocols = typedefs.protocols_http },
      { config = { type = "record", fields = {
        { origins = { type = "array", elements = { type = "string", custom_validator = valid_origin } } },
        { headers = { type = "array", elements = { type = "string" } } },
        { exposed_headers = { type = "array", elements = { type = "string" } } },
        { methods = { type = "array", default = METHODS, elements = { type = "string", one_of = METHODS } } },
        { max_age = { type = "number" } },
        { credentials = { type = "boolean", required = true, default = false } },
        { private_network = { type = "boolean", required = true, default = false } },
        { preflight_continue = { type = "boolean", required = true, default = false } },
      } } },
    },
  },
}
