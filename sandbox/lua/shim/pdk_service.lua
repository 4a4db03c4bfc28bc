-- kong.service: what a plugin may change of the request to the upstream.
local state = require "shim.state"
local checks = require "shim.checks"
local py = state.py

local function x() return state.request(4) end

local service = { request = {}, response = {} }

function service.set_upstream(name)
  checks.text("host", name)
  local ok, err = py.set_upstream(x(), name)
  if not ok then return nil, err end
  return true
end
function service.set_target(host, port)
  checks.text("host", host)
  if type(port) ~= "number" or math.floor(port) ~= port then error("port must be an integer", 2) end
  checks.integer("port", port, 0, 65535)
  py.set_target(x(), host, port)
end
function service.set_retries(retries)
  checks.integer("retries", retries, 0, 32767)
  py.set_retries(x(), retries)
end
function service.set_timeouts(connect, write, read)
  checks.integer("connect_timeout", connect, 1, 2147483646)
  checks.integer("write_timeout", write, 1, 2147483646)
  checks.integer("read_timeout", read, 1, 2147483646)
  py.set_timeouts(x(), connect, read)
end
function service.set_tls_verify() return true end
function service.set_target_retry_callback() error("set_target_retry_callback is not part of the sandbox", 2) end

local request = service.request

local function set_host(name, value)
  if name:lower() == "host" then py.var_set(x(), "upstream_host", type(value) == "table" and value[1] or value) end
end

function request.set_header(name, value)
  value = checks.header(name, value)
  set_host(name, value)
  py.req_set_header(x(), name, value)
end
function request.add_header(name, value)
  value = checks.header(name, value)
  set_host(name, value)
  py.req_add_header(x(), name, value)
end
function request.clear_header(name)
  if type(name) ~= "string" then error("header must be a string", 2) end
  py.req_set_header(x(), name, nil)
end
function request.set_headers(headers)
  headers = checks.headers(headers)
  local ex = x()
  for name, value in pairs(headers) do
    set_host(name, value)
    py.req_set_header(ex, name, value)
  end
end
function request.set_path(path)
  checks.text("path", path)
  if path:sub(1, 1) ~= "/" then error("path must start with /", 2) end
  py.set_path(x(), path)
end
function request.set_raw_query(query)
  checks.text("query", query)
  py.set_query(x(), query)
end
function request.set_query(args)
  if type(args) ~= "table" then error("args must be a table", 2) end
  py.set_query(x(), py.encode_args(args))
end

local METHODS = {}
for name in ("GET HEAD PUT POST DELETE OPTIONS MKCOL COPY MOVE PROPFIND PROPPATCH LOCK UNLOCK PATCH TRACE"):gmatch("%S+") do
  METHODS[name] = true
end
function request.set_method(method)
  checks.text("method", method)
  if not METHODS[method] then error("invalid method: " .. method, 2) end
  py.req_set_method(x(), method)
end
function request.set_scheme(scheme)
  checks.text("scheme", scheme)
  if scheme ~= "http" and scheme ~= "https" then error("invalid scheme: " .. scheme, 2) end
  py.set_scheme(x(), scheme)
end
function request.set_raw_body() error("kong.service.request.set_raw_body is not part of the sandbox", 2) end
function request.set_body() error("kong.service.request.set_body is not part of the sandbox", 2) end
function request.enable_buffering() state.cur.ctx.buffered_proxying = true end

function service.response.get_status() return py.upstream_response_status(x()) end
function service.response.get_header(name)
  if not py.upstream_response_status(x()) then return nil end
  local value = py.resp_get_header(x(), name, false)
  return value
end
function service.response.get_headers(max) return ngx.resp.get_headers(max) end
function service.response.get_raw_body()
  local ctx = state.cur.ctx
  if not ctx.buffered_proxying then
    error("service body is only available with buffered proxying (see: kong.service.request.enable_buffering function)", 2)
  end
  return ctx.buffered_body or ""
end
function service.response.get_body(mimetype)
  local body = service.response.get_raw_body()
  local kind = mimetype or service.response.get_header("Content-Type")
  if not kind then return nil, "missing content type" end
  if kind:lower():find("application/json", 1, true) ~= 1 then
    return nil, "content type '" .. kind .. "' is not part of the sandbox"
  end
  local json = require("cjson.safe").decode(body)
  if type(json) ~= "table" then return nil, "invalid json body" end
  return json
end

return service
