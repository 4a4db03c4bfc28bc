-- kong.db.schema.typedefs, the part that plugin schemas name.
local M = {
  no_consumer = { type = "foreign", reference = "consumers", eq = ngx_null },
  no_route = { type = "foreign", reference = "routes", eq = ngx_null },
  no_service = { type = "foreign", reference = "services", eq = ngx_null },
  no_consumer_group = { type = "foreign", reference = "consumer_groups", eq = ngx_null },
  protocols_http = {
    type = "set", required = true, default = { "grpc", "grpcs", "http", "https" },
    elements = { type = "string", one_of = { "grpc", "grpcs", "http", "https" } },
  },
  header_name = { type = "string" },
  host = { type = "string" },
  ip = { type = "string" },
  ip_or_cidr = { type = "string" },
  path = { type = "string", starts_with = "/" },
  port = { type = "integer", between = { 0, 65535 } },
  timeout = { type = "integer", between = { 0, 2147483646 } },
  url = { type = "string" },
  uuid = { type = "string", uuid = true },
  cidr_v4 = { type = "string" },
  http_method = { type = "string" },
}
M.protocols = M.protocols_http

-- typedefs are templates: calling one with a table gives a copy with those keys on top.
local callable = {
  __call = function(base, over)
    local copy = {}
    for k, v in pairs(base) do copy[k] = v end
    for k, v in pairs(over) do copy[k] = v end
    return copy
  end,
}
for _, field in pairs(M) do setmetatable(field, callable) end
return M
