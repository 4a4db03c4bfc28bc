-- kong.request and kong.client. Read only.
local state = require "shim.state"
local py = state.py

local function x() return state.request(4) end

local request = {}
function request.get_scheme() return py.var_get(x(), "scheme") end
function request.get_host() return py.var_get(x(), "host") end
function request.get_port() return tonumber(py.var_get(x(), "server_port")) end
function request.get_forwarded_scheme() return py.forwarded(x(), "scheme") end
function request.get_forwarded_host() return py.forwarded(x(), "host") end
function request.get_forwarded_port() return tonumber(py.forwarded(x(), "port")) end
function request.get_forwarded_path()
  if py.forwarded(x(), "path") ~= py.req_raw_path(x()) then return py.forwarded(x(), "path") end
  return request.get_path()
end
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
function request.get_raw_body()
  if not py.body_data(x()) then ngx.req.read_body() end
  local body = ngx.req.get_body_data()
  if not body then
    return nil, "request body did not fit into client body buffer, consider raising 'client_body_buffer_size'"
  end
  return body
end
function request.get_body(mimetype)
  local kind = mimetype or request.get_header("content-type") or ""
  local body, err = request.get_raw_body()
  if not body then return nil, err end
  if kind:find("application/json", 1, true) then
    local json, failed = require("cjson.safe").decode(body)
    if type(json) ~= "table" then return nil, failed or "invalid json body", "application/json" end
    return json, nil, "application/json"
  elseif kind:find("application/x-www-form-urlencoded", 1, true) then
    return ngx.decode_args(body), nil, "application/x-www-form-urlencoded"
  end
  return nil, "unsupported content type '" .. kind .. "'", kind
end
function request.get_uri_captures()
  local captures = { unnamed = {}, named = {} }
  for name, value in pairs(py.captures(x())) do
    if tonumber(name) then captures.unnamed[tonumber(name)] = value else captures.named[name] = value end
  end
  return captures
end
function request.get_start_time() return math.floor(py.req_start_time(x()) * 1000) end

local client = {}
function client.get_ip() return py.peer_ip(x()) end
function client.get_forwarded_ip() return py.var_get(x(), "remote_addr") end
function client.get_port() return tonumber(py.var_get(x(), "realip_remote_port")) end
function client.get_forwarded_port() return tonumber(py.var_get(x(), "remote_port")) end
function client.get_consumer() return state.cur.ctx.authenticated_consumer end
function client.get_credential() return state.cur.ctx.authenticated_credential end
local TABLE_OR_NIL = { ["table"] = true, ["nil"] = true }
function client.authenticate(consumer, credential)
  if not TABLE_OR_NIL[type(consumer)] then error("consumer must be a table or nil", 2) end
  if not TABLE_OR_NIL[type(credential)] then error("credential must be a table or nil", 2) end
  if credential == nil and consumer == nil then error("either credential or consumer must be provided", 2) end
  state.cur.ctx.authenticated_consumer = consumer
  state.cur.ctx.authenticated_credential = credential
end
function client.get_protocol() return py.forwarded(x(), "scheme") end

return { request = request, client = client }
