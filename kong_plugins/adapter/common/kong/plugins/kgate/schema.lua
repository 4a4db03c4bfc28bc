local typedefs = require "kong.db.schema.typedefs"
local const = require "kong.plugins.kgate.const"

return {
  name = "kgate",
  fields = {
    { consumer = typedefs.no_consumer },
    { route = typedefs.no_route },
    { service = typedefs.no_service },
    { protocols = typedefs.protocols_http },
    { config = {
        type = "record",
        fields = {
          -- the plugin server's express socket; 107 bytes is what a unix address holds
          { socket = { type = "string", required = true, default = const.SOCKET, match = "^/", len_max = 107 } },
          -- headers that only the gateway may set: removed from each request in every spelling
          { strip = {
              type = "array",
              required = true,
              default = const.STRIP,
              elements = { type = "string", match = "^[%w%-_]+$" },
          } },
        },
    } },
  },
}
