-- The global `ngx`: what plugins use of OpenResty's API, on the exchange that Python owns.
local state = require "shim.state"
local shdict = require "shim.shdict"
local socket = require "shim.socket"
local thread = require "shim.thread"
local py = state.py

local ngx = {
  null = ngx_null,
  OK = 0, ERROR = -1, AGAIN = -2, DONE = -4, DECLINED = -5,
  STDERR = 0, EMERG = 1, ALERT = 2, CRIT = 3, ERR = 4, WARN = 5, NOTICE = 6, INFO = 7, DEBUG = 8,
  HTTP_GET = 2, HTTP_HEAD = 4, HTTP_POST = 8, HTTP_PUT = 16, HTTP_DELETE = 32, HTTP_OPTIONS = 512, HTTP_PATCH = 16384,
}
for name, status in pairs {
  CONTINUE = 100, SWITCHING_PROTOCOLS = 101, OK = 200, CREATED = 201, ACCEPTED = 202, NO_CONTENT = 204,
  PARTIAL_CONTENT = 206, SPECIAL_RESPONSE = 300, MOVED_PERMANENTLY = 301, MOVED_TEMPORARILY = 302, SEE_OTHER = 303,
  NOT_MODIFIED = 304, TEMPORARY_REDIRECT = 307, PERMANENT_REDIRECT = 308, BAD_REQUEST = 400, UNAUTHORIZED = 401,
  PAYMENT_REQUIRED = 402, FORBIDDEN = 403, NOT_FOUND = 404, NOT_ALLOWED = 405, NOT_ACCEPTABLE = 406,
  REQUEST_TIMEOUT = 408, CONFLICT = 409, GONE = 410, UPGRADE_REQUIRED = 426, TOO_MANY_REQUESTS = 429, CLOSE = 444,
  ILLEGAL = 451, INTERNAL_SERVER_ERROR = 500, NOT_IMPLEMENTED = 501, METHOD_NOT_IMPLEMENTED = 501, BAD_GATEWAY = 502,
  SERVICE_UNAVAILABLE = 503, GATEWAY_TIMEOUT = 504, VERSION_NOT_SUPPORTED = 505, INSUFFICIENT_STORAGE = 507,
} do ngx["HTTP_" .. name] = status end

local function exchange() return state.request(4) end

function ngx.now() return py.now() end
function ngx.time() return math.floor(py.now()) end
function ngx.update_time() end
function ngx.today() return os.date("!%Y-%m-%d") end
function ngx.utctime() return os.date("!%Y-%m-%d %H:%M:%S") end
function ngx.localtime() return os.date("%Y-%m-%d %H:%M:%S") end
function ngx.http_time(t) return os.date("!%a, %d %b %Y %H:%M:%S GMT", t) end
function ngx.cookie_time(t) return os.date("!%a, %d-%b-%y %H:%M:%S GMT", t) end

function ngx.md5(s) return py.md5(tostring(s)) end
function ngx.md5_bin(s) return py.md5_bin(tostring(s)) end
function ngx.sha1_bin(s) return py.sha1_bin(tostring(s)) end
function ngx.hmac_sha1(key, s) return py.hmac_sha1(key, s) end
function ngx.crc32_short(s) return py.crc32(s) end
ngx.crc32_long = ngx.crc32_short
function ngx.encode_base64(s, no_padding) return py.b64encode(tostring(s), no_padding and true or false) end
function ngx.decode_base64(s) return py.b64decode(s) end
function ngx.escape_uri(s) return py.escape_uri(tostring(s)) end
function ngx.unescape_uri(s) return py.unescape_uri(tostring(s)) end
function ngx.encode_args(t) return py.encode_args(t) end
function ngx.decode_args(s) return py.decode_args(s) end

local function text(...)
  local parts = { ... }
  for i = 1, select("#", ...) do parts[i] = tostring(parts[i]) end
  return table.concat(parts)
end
function ngx.log(level, ...) py.log(level, text(...)) end
_G.print = function(...) py.log(ngx.NOTICE, text(...)) end

function ngx.get_phase() return state.cur and state.cur.phase or "init_worker" end
function ngx.sleep(seconds) state.wait("sleep", seconds) end

function ngx.print(...)
  state.check_before_answer()
  py.resp_print(exchange(), text(...))
  return 1
end
function ngx.say(...)
  state.check_before_answer()
  py.resp_print(exchange(), text(...) .. "\n")
  return 1
end
function ngx.flush() state.check_before_answer() return 1 end
function ngx.eof() state.check_before_answer() return 1 end
function ngx.exit(status)
  state.check_exit()
  local cur = state.cur
  if cur.phase == "header_filter" then return end
  if cur.x and status and status >= 200 then py.resp_set_status(cur.x, status) end
  coroutine.yield(state.EXIT)
end
function ngx.redirect(uri, status)
  state.check_before_answer()
  py.resp_set_header(exchange(), "Location", uri)
  ngx.exit(status or 302)
end
function ngx.exec() error("ngx.exec is not part of the sandbox", 2) end
function ngx.on_abort() return nil, "lua_check_client_abort is off" end

ngx.var = setmetatable({}, {
  __index = function(_, name) return py.var_get(exchange(), name) end,
  __newindex = function(_, name, value) py.var_set(exchange(), name, value ~= nil and tostring(value) or nil) end,
})

ngx.header = setmetatable({}, {
  __index = function(_, name) return py.resp_get_header(exchange(), (name:gsub("_", "-")), true) end,
  __newindex = function(_, name, value) py.resp_set_header(exchange(), (name:gsub("_", "-")), value) end,
})

-- As OpenResty: a missing key is looked up again in lower case with dashes.
local by_any_name = {
  __index = function(t, name) return rawget(t, (name:lower():gsub("_", "-"))) end,
}
local function headers_table(list) return setmetatable(list, by_any_name) end

ngx.req = {
  get_method = function() return py.req_method(exchange()) end,
  set_method = function(id) py.req_set_method(exchange(), id) end,
  start_time = function() return py.req_start_time(exchange()) end,
  get_headers = function(max) return headers_table(py.req_headers(exchange(), max or 100)) end,
  set_header = function(name, value) py.req_set_header(exchange(), name, value) end,
  clear_header = function(name) py.req_set_header(exchange(), name, nil) end,
  get_uri_args = function() return py.req_query(exchange()) end,
  http_version = function() return py.req_http_version(exchange()) end,
  read_body = function()
    state.check_before_answer()
    state.wait("read_body", exchange())
  end,
  get_body_data = function() return py.body_data(exchange()) end,
  get_body_file = function() return nil end,
  is_internal = function() return false end,
}
ngx.resp = {
  get_headers = function(max) return headers_table(py.resp_headers(exchange(), max or 100)) end,
  add_header = function(name, value) py.resp_add_header(exchange(), name, value) end,
}

ngx.re = {
  match = function(s, re, opts) return py.re_match(s, re, opts) end,
  find = function(s, re, opts) return py.re_find(s, re, opts) end,
  gsub = function(s, re, by, opts) return py.re_sub(s, re, by, opts, 0) end,
  sub = function(s, re, by, opts) return py.re_sub(s, re, by, opts, 1) end,
  gmatch = function(s, re, opts)
    local all, i = py.re_all(s, re, opts), 0
    return function() i = i + 1 return all[i] end
  end,
}

local runloop_timer
ngx.timer = {
  at = function(delay, fn, ...) return runloop_timer(delay, false, fn, ...) end,
  every = function(delay, fn, ...) return runloop_timer(delay, true, fn, ...) end,
  running_count = function() return 0 end,
  pending_count = function() return 0 end,
}
function ngx.set_timer_function(fn) runloop_timer = fn ngx.set_timer_function = nil end

ngx.socket = { tcp = socket.tcp, connect = socket.connect_new, stream = socket.tcp }
ngx.shared = setmetatable({}, {
  __index = function(t, name)
    if name:sub(1, 4) ~= "kong" and name ~= "prometheus_metrics" then return nil end
    local dict = shdict.new(name)
    rawset(t, name, dict)
    return dict
  end,
})
ngx.worker = {
  id = function() return (py.worker()) end,
  pid = function() return py.pid() end,
  pids = function()
    local id, count = py.worker()
    local list = {}
    for i = 1, count do list[i] = py.pid() - id + i - 1 end
    return list
  end,
  count = function() return (select(2, py.worker())) end,
  exiting = function() return py.exiting() end,
}
ngx.config = {
  subsystem = "http", debug = false, ngx_lua_version = 10027, nginx_version = 1027001,
  prefix = function() return py.prefix() end, nginx_configure = function() return "" end,
}
ngx.thread = { spawn = thread.spawn, wait = thread.wait, kill = thread.kill }

return setmetatable(ngx, {
  __index = function(_, name)
    if name == "ctx" then return state.cur and state.cur.ctx or error("no request ctx found", 2) end
    if name == "arg" then return state.cur and state.cur.arg end
    if name == "status" then return py.resp_status(exchange()) end
    if name == "headers_sent" then return py.resp_sent(exchange()) end
    if name == "is_subrequest" then return false end
  end,
  __newindex = function(t, name, value)
    if name == "status" then
      py.resp_set_status(exchange(), tonumber(value))
    elseif name == "ctx" then
      state.cur.ctx = value
    else
      rawset(t, name, value)
    end
  end,
})
