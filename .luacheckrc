-- The adapter runs in OpenResty's LuaJIT inside Kong.
std = "ngx_lua"
max_line_length = 120
self = false -- Kong's handlers are methods
files["kong_plugins/adapter"] = {
  read_globals = { kong = { other_fields = true, fields = {
    ctx = { read_only = false, other_fields = true }, kgate = { read_only = false },
    vault = { fields = { update = { read_only = false } } },
  } } },
}
-- the tests' stand-in defines what Kong defines
files["tests/kong_plugins/adapter"] = { globals = { "ngx", "kong" } }
