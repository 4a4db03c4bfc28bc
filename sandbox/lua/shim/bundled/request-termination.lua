-- Kong's request-termination, thin: status_code, message or body and content_type.
local H = { PRIORITY = 2, VERSION = "3.9.3" }

function H:access(conf)
  if conf.trigger and not kong.request.get_header(conf.trigger) and not kong.request.get_query_arg(conf.trigger) then
    return
  end
  if conf.body then
    return kong.response.exit(conf.status_code, conf.body, {
      ["Content-Type"] = conf.content_type or "application/json; charset=utf-8",
    })
  end
  return kong.response.exit(conf.status_code, { message = conf.message or require("shim.state").py.reason(conf.status_code) })
end

local function given(v)
  return type(v) == "string" and #v > 0
end

local function well(conf)
  local raw = given(conf.content_type) or given(conf.body)
  if given(conf.message) and raw then
    return nil, "message cannot be used with content_type or body"
  end
  if given(conf.content_type) and not given(conf.body) then
    return nil, "content_type requires a body"
  end
  if conf.echo and raw then
    return nil, "echo cannot be used with content_type and body"
  end
  return true
end

local typedefs = require "kong.db.schema.typedefs"
return {
  handler = H,
  schema = {
    name = "request-termination",
    fields = {
      { protocols = typedefs.protocols_http },
      { config = { type = "record", custom_validator = well, fields = {
        { status_code = { type = "integer", required = true, default = 503, between = { 100, 599 } } },
        { message = { type = "string" } },
        { content_type = { type = "string" } },
        { body = { type = "string" } },
        { echo = { type = "boolean", required = true, default = false } },
        { trigger = typedefs.header_name },
      } } },
    },
  },
}
