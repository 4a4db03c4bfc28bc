-- cjson and cjson.safe over Python's json. Strings are bytes on both sides, as with cjson.
local state = require "shim.state"

local array_mt = {}
local empty_array_mt = {}
local safe, strict = {}, {}

safe.null = ngx_null
safe.array_mt = array_mt
safe.empty_array_mt = empty_array_mt
safe.empty_array = setmetatable({}, array_mt)

function safe.encode(value)
  local text, err = state.py.json_encode(value)
  if not text then return nil, err end
  return text
end

function safe.decode(text)
  if type(text) ~= "string" then return nil, "bad argument #1 to 'decode' (string expected)" end
  local ok, value = state.py.json_decode(text)
  if not ok then return nil, value end
  return value
end

for _, name in ipairs { "decode_array_with_array_mt", "encode_empty_table_as_object", "encode_number_precision",
                        "encode_sparse_array", "decode_max_depth", "encode_max_depth", "encode_keep_buffer",
                        "encode_escape_forward_slash", "encode_invalid_numbers", "decode_invalid_numbers" } do
  safe[name] = function() end
end

for name, value in pairs(safe) do strict[name] = value end
function strict.encode(value)
  local text, err = safe.encode(value)
  if not text then error(err, 2) end
  return text
end
function strict.decode(text)
  local ok, value = state.py.json_decode(text)
  if not ok then error(value, 2) end
  return value
end
function safe.new() return safe end
function strict.new() return strict end

return { safe = safe, strict = strict }
