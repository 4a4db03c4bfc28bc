-- Kong's key-auth, thin: a key in a header or the query names the consumer.
local H = { PRIORITY = 1250, VERSION = "3.9.3" }
local py = require("shim.state").py

local function find_key(conf)
  for _, name in ipairs(conf.key_names) do
    local value = conf.key_in_header and kong.request.get_header(name)
    if value then
      if conf.hide_credentials then kong.service.request.clear_header(name) end
      return value
    end
    value = conf.key_in_query and kong.request.get_query_arg(name)
    if value then return value end
  end
end

local function refuse(conf, message)
  local realm = conf.realm and ' realm="' .. conf.realm .. '"' or ""
  return kong.response.error(401, message, { ["WWW-Authenticate"] = "Key" .. realm })
end

function H:access(conf)
  if not conf.run_on_preflight and kong.request.get_method() == "OPTIONS" then return end
  local key = find_key(conf)
  local consumer, credential
  if key then consumer, credential = py.consumer_of_key(key) end
  if not consumer and conf.anonymous then
    consumer = py.consumer_by_name(conf.anonymous)
    if consumer then kong.service.request.set_header("X-Anonymous-Consumer", "true") end
  end
  if not consumer then
    return refuse(conf, key and "Unauthorized" or "No API key found in request")
  end
  kong.client.authenticate(consumer, credential)
  local set = kong.service.request.set_header
  set("X-Consumer-ID", consumer.id)
  if consumer.username then set("X-Consumer-Username", consumer.username) end
  if consumer.custom_id then set("X-Consumer-Custom-ID", consumer.custom_id) end
  if credential then set("X-Credential-Identifier", credential.id) end
end

local typedefs = require "kong.db.schema.typedefs"
return {
  handler = H,
  schema = {
    name = "key-auth",
    fields = {
      { consumer = typedefs.no_consumer },
      { protocols = typedefs.protocols_http },
      { config = { type = "record", fields = {
        { key_names = { type = "array", required = true, elements = { type = "string" }, default = { "apikey" } } },
        { hide_credentials = { type = "boolean", required = true, default = false } },
        { anonymous = { type = "string" } },
        { key_in_header = { type = "boolean", required = true, default = true } },
        { key_in_query = { type = "boolean", required = true, default = true } },
        { key_in_body = { type = "boolean", required = true, default = false } },
        { run_on_preflight = { type = "boolean", required = true, default = true } },
        { realm = { type = "string" } },
      } } },
    },
  },
}
