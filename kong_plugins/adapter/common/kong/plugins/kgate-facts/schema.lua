local typedefs = require "kong.db.schema.typedefs"
local const = require "kong.plugins.kgate.const"

return {
  name = "kgate-facts",
  fields = {
    { consumer = typedefs.no_consumer },
    { route = typedefs.no_route },
    { service = typedefs.no_service },
    { protocols = typedefs.protocols_http },
    { config = {
        type = "record",
        fields = {
          { socket = { type = "string", required = true, default = const.SOCKET, match = "^/", len_max = 107 } },
          -- headers that the filters may see
          { headers = {
              type = "array",
              required = true,
              default = const.HEADERS,
              elements = { type = "string", match = "^[%w%-_]+$" },
          } },
        },
    } },
  },
}
