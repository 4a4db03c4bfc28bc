-- kong.service: what a plugin may change of the request to the upstream.
local state = require "shim.state"
local py = state.py

local function x(phases)
  local cur = state.cur
  if not (cur and cur.x) then error("no request found", 3) end
  if phases and not phases[cur.phase] then
    error("function cannot be called in " .. cur.phase .. " phase", 3)
  end
  return cur.x
end

local ACCESS = { access = true }
local EARLY = { rewrite = true, access = true }

local service = { request = {}, response = {} }
function service.set_upstream(name)
  if type(name) ~= "string" then error("host must be a string", 2) end
  if name == "" then error("host must not be empty", 2) end
  local ok, err = py.set_upstream(x(ACCESS), name)
  if not ok then return nil, err end
  return true
end
function service.set_target(host, port)
  if type(host) ~= "string" or host == "" then error("host must be a string", 2) end
  if type(port) ~= "number" then error("port must be an integer", 2) end
  py.set_target(x(ACCESS), host, port)
end
function service.set_retries(retries)
  if type(retries) ~= "number" then error("retries must be an integer", 2) end
  py.set_retries(x(ACCESS), retries)
end
function service.set_timeouts(connect, write, read) py.set_timeouts(x(ACCESS), connect, read) end
function service.set_tls_verify() return true end

local function check_name(name)
  if type(name) ~= "string" then error("invalid header name: got " .. type(name) .. ", expected string", 3) end
end

function service.request.set_header(name, value)
  check_name(name)
  if type(value) == "number" or type(value) == "boolean" then value = tostring(value) end
  if type(value) ~= "string" and type(value) ~= "table" then
    error("invalid header value for \"" .. name .. "\": got " .. type(value) .. ", expected array of string, string, number or boolean", 2)
  end
  py.req_set_header(x(EARLY), name, value)
end
function service.request.add_header(name, value)
  check_name(name)
  py.req_add_header(x(EARLY), name, type(value) == "table" and value or tostring(value))
end
function service.request.clear_header(name)
  check_name(name)
  py.req_set_header(x(EARLY), name, nil)
end
function service.request.set_headers(headers)
  if type(headers) ~= "table" then error("headers must be a table", 2) end
  local ex = x(EARLY)
  for name, value in pairs(headers) do
    py.req_set_header(ex, name, type(value) == "table" and value or tostring(value))
  end
end
function service.request.set_path(path) py.set_path(x(ACCESS), path) end
function service.request.set_raw_query(query) py.set_query(x(EARLY), query) end
function service.request.set_method(method) py.req_set_method(x(EARLY), method) end
function service.request.set_scheme(scheme) py.set_scheme(x(ACCESS), scheme) end
function service.request.enable_buffering() error("buffered proxying is not part of the sandbox", 2) end

function service.response.get_status() return py.upstream_response_status(x()) end
function service.response.get_header(name)
  if not py.upstream_response_status(x()) then return nil end
  local value = py.resp_get_header(x(), name, false)
  return value
end
function service.response.get_headers(max) return ngx.resp.get_headers(max) end

return service
