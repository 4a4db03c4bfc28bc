-- kong.response, with Kong's rule for exits: in access the answer waits until the plugins had their turn,
-- in header_filter it replaces what the upstream sent, elsewhere it raises.
local state = require "shim.state"
local checks = require "shim.checks"
local py = state.py

local M = {}
local response = {}

local function x() return state.request(4) end

function response.get_status() return py.resp_status(x()) end
function response.get_header(name)
  local value = py.resp_get_header(x(), name, false)
  return value
end
function response.get_headers(max) return ngx.resp.get_headers(max) end
function response.get_source()
  local ctx = state.cur.ctx
  if ctx.KONG_UNEXPECTED then return "error" end
  if ctx.KONG_EXITED then return "exit" end
  if ctx.KONG_PROXIED then return "service" end
  return "error"
end
local function unsent()
  if py.resp_sent(x()) then error("headers have already been sent", 3) end
end

local function manual_coding(name)
  local lower = name:lower():gsub("_", "-")
  if lower ~= "transfer-encoding" then return false end
  kong.log.warn("manually setting Transfer-Encoding. Ignored.")
  return true
end

function response.set_status(status)
  unsent()
  checks.status(status, 100)
  py.resp_set_status(x(), status)
end
function response.set_header(name, value)
  unsent()
  value = checks.header(name, value)
  if not manual_coding(name) then py.resp_set_header(x(), name, value) end
end
function response.add_header(name, value)
  unsent()
  py.resp_add_header(x(), name, checks.header(name, value))
end
function response.clear_header(name)
  unsent()
  if type(name) ~= "string" then error("header name must be a string", 2) end
  py.resp_set_header(x(), name, nil)
end
function response.set_headers(headers)
  unsent()
  headers = checks.headers(headers)
  local ex = x()
  for name, value in pairs(headers) do
    if not manual_coding(name) then py.resp_set_header(ex, name, value) end
  end
end

-- In body_filter: the body is collected until its end, then it is one string. See Kong's kong.response.
function response.get_raw_body()
  local cur = state.cur
  local arg = cur.arg
  cur.body_parts = cur.body_parts or {}
  if type(arg[1]) == "string" then cur.body_parts[#cur.body_parts + 1] = arg[1] end
  if not arg[2] then
    arg[1] = nil
    return nil
  end
  arg[1] = table.concat(cur.body_parts)
  cur.body_parts = nil
  return arg[1]
end
function response.set_raw_body(body)
  if type(body) ~= "string" then error("body must be a string", 2) end
  state.cur.arg[1] = body == "" and "\n" or body
  state.cur.arg[2] = true
  state.cur.body_parts = nil
end
-- Puts an answer on the exchange; does not leave the handler.
local function send(status, body, headers)
  local ex = state.cur.x
  py.resp_set_status(ex, status)
  local has_type, has_length
  for name, value in pairs(headers or {}) do
    local lower = name:lower():gsub("_", "-")
    if lower == "content-type" then has_type = true end
    if lower == "content-length" then has_length = true end
    if lower ~= "transfer-encoding" then
      py.resp_set_header(ex, name, type(value) == "table" and value or tostring(value))
    end
  end
  if type(body) == "table" then
    local json, err = py.json_encode(body)
    if not json then error("body encoding failed while flushing response: " .. tostring(err), 3) end
    body = json
    if not has_type then py.resp_set_header(ex, "Content-Type", "application/json; charset=utf-8") end
  end
  if not has_length then py.resp_set_header(ex, "Content-Length", tostring(body and #body or 0)) end
  py.resp_set_body(ex, body or "")
end

local function leave(status, body, headers)
  local cur = state.cur
  local ctx = cur.ctx
  ctx.KONG_EXITED = true
  if ctx.delay_response and not ctx.delayed_response then
    ctx.delayed_response = { status_code = status, content = body, headers = headers }
    coroutine.yield(state.EXIT)
    return
  end
  send(status, body, headers)
  if cur.phase ~= "header_filter" then coroutine.yield(state.EXIT) end
end

function response.exit(status, body, headers)
  unsent()
  checks.status(status, 100)
  if body ~= nil and type(body) ~= "string" and type(body) ~= "table" then
    error("body must be a nil, string or table", 2)
  end
  if headers ~= nil and type(headers) ~= "table" then error("headers must be a nil or table", 2) end
  leave(status, body, headers and checks.headers(headers))
end

function response.error(status, message, headers)
  unsent()
  checks.status(status, 400)
  if type(message) == "table" then message = py.json_encode(message) end
  if message ~= nil and type(message) ~= "string" then error("message must be a nil, a string or a table", 2) end
  if headers ~= nil and type(headers) ~= "table" then error("headers must be a nil or table", 2) end
  headers = headers and checks.headers(headers)
  local content_type, body = py.error_body(state.cur.x, status, message)
  local all = { ["Content-Type"] = content_type }
  for name, value in pairs(headers or {}) do all[name] = value end
  leave(status, body, all)
end

-- After the access plugins: the answer that one of them gave goes on the exchange.
function M.flush()
  local ctx = state.cur.ctx
  local answer = ctx.delayed_response
  ctx.delay_response = nil
  if answer.unexpected then
    local content_type, body = py.error_body(state.cur.x, 500, "An unexpected error occurred")
    send(500, body, { ["Content-Type"] = content_type })
  else
    send(answer.status_code, answer.content, answer.headers)
  end
end

M.response = response
return M
