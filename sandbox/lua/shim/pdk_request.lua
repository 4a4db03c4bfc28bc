-- kong.request and kong.client. Read only.
local state = require "shim.state"
local py = state.py

local function x()
  local cur = state.cur
  if not (cur and cur.x) then error("no request found", 3) end
  return cur.x
end

local request = {}
function request.get_scheme() return py.var_get(x(), "scheme") end
function request.get_host() return py.var_get(x(), "host") end
function request.get_port() return tonumber(py.var_get(x(), "server_port")) end
function request.get_forwarded_scheme() return py.forwarded(x(), "scheme") end
function request.get_forwarded_host() return py.forwarded(x(), "host") end
function request.get_forwarded_port() return tonumber(py.forwarded(x(), "port")) end
function request.get_forwarded_path() return py.forwarded(x(), "path") end
function request.get_forwarded_prefix() return py.forwarded(x(), "prefix") end
function request.get_http_version() return py.req_http_version(x()) end
function request.get_method() return py.req_method(x()) end
function request.get_path() return py.req_path(x()) end
function request.get_raw_path() return py.req_raw_path(x()) end
function request.get_path_with_query() return py.var_get(x(), "request_uri") end
function request.get_raw_query() return py.var_get(x(), "args") or "" end
function request.get_query() return py.req_query(x()) end
function request.get_query_arg(name)
  local value = py.req_query(x())[name]
  if type(value) == "table" then return value[1] end
  return value
end
function request.get_header(name)
  if type(name) ~= "string" then error("header name must be a string", 2) end
  return py.req_get_header(x(), name)
end
function request.get_headers(max) return ngx.req.get_headers(max) end
function request.get_raw_body() return nil, "request bodies are streamed: not part of the sandbox" end
request.get_body = request.get_raw_body
function request.get_uri_captures() return { unnamed = {}, named = {} } end
function request.get_start_time() return math.floor(py.req_start_time(x()) * 1000) end

local client = {}
function client.get_ip() return py.peer_ip(x()) end
function client.get_forwarded_ip() return py.var_get(x(), "remote_addr") end
function client.get_port() return tonumber(py.var_get(x(), "realip_remote_port")) end
function client.get_forwarded_port() return tonumber(py.var_get(x(), "remote_port")) end
function client.get_consumer() return state.cur.ctx.authenticated_consumer end
function client.get_credential() return state.cur.ctx.authenticated_credential end
function client.authenticate(consumer, credential)
  state.cur.ctx.authenticated_consumer = consumer
  state.cur.ctx.authenticated_credential = credential
end
function client.get_protocol() return py.forwarded(x(), "scheme") end

return { request = request, client = client }
