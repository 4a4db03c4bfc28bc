local typedefs = require "kong.db.schema.typedefs"
return {
  name = "probe",
  fields = {
    { consumer = typedefs.no_consumer },
    { protocols = typedefs.protocols_http },
    { config = { type = "record", fields = {
      { rewrite = { type = "string" } },
      { access = { type = "string" } },
      { header_filter = { type = "string" } },
      { log = { type = "string" } },
      { note = { type = "string", default = "n" } },
      { list = { type = "array", elements = { type = "string", one_of = { "a", "b" } }, default = {} } },
      { shape = { type = "record", fields = {
        { size = { type = "integer", default = 3 } },
        { deep = { type = "record", fields = { { c = { type = "string", default = "x" } }, { d = { type = "string" } } } } },
      } } },
      { off = { type = "record", required = false, fields = { { c = { type = "string", default = "x" } } } } },
      { rows = { type = "array", elements = { type = "record", fields = {
        { c = { type = "string", default = "x" } },
        { deep = { type = "record", fields = { { d = { type = "string", default = "y" } } } } },
      } } } },
      { even = { type = "integer", custom_validator = function(v) if v % 2 == 1 then return nil, "is odd" end return true end } },
    } } },
  },
}
