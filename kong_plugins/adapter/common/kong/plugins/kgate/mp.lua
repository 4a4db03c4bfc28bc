--- A small MessagePack: text, integers and arrays out; anything but floats and extensions in.
--
-- Length prefixes of strings are cached, because facts are packed for each request. `decode` never raises
-- and never reads past the end: what it cannot read is `nil, reason`.
-- Format: https://github.com/msgpack/msgpack/blob/master/spec.md

local byte, char, sub = string.byte, string.char, string.sub
local concat, floor, type = table.concat, math.floor, type
local new_table = require "table.new" -- LuaJIT's: a table that grows is copied each time

local M = {}

--- Stands for nil inside a decoded array (a Lua array has no holes).
M.NULL = {}

local MAX_DEPTH = 32
local MANY = 64 -- elements for which no room is made before they are read
local BIG = 4294967296 -- 2^32

local function be16(n)
  return char(floor(n / 256), n % 256)
end

local function be32(n)
  return char(floor(n / 16777216), floor(n / 65536) % 256, floor(n / 256) % 256, n % 256)
end

local prefixes = {}

local function text_prefix(n)
  local found = prefixes[n]
  if found then
    return found
  end
  if n < 32 then
    found = char(0xa0 + n)
  elseif n < 256 then
    found = char(0xd9, n)
  elseif n < 65536 then
    found = "\xda" .. be16(n)
  else
    return "\xdb" .. be32(n)
  end
  prefixes[n] = found
  return found
end

--- The header of an array of n elements.
function M.array(n)
  if n < 16 then
    return char(0x90 + n)
  end
  if n < 65536 then
    return "\xdc" .. be16(n)
  end
  return "\xdd" .. be32(n)
end

--- One string.
function M.text(s)
  return text_prefix(#s) .. s
end

--- The header of n bytes that are not text.
function M.bytes(n)
  return "\xc6" .. be32(n)
end

--- One integer (exact up to 2^53).
function M.int(n)
  if n >= 0 then
    if n < 128 then
      return char(n)
    elseif n < 256 then
      return char(0xcc, n)
    elseif n < 65536 then
      return "\xcd" .. be16(n)
    elseif n < BIG then
      return "\xce" .. be32(n)
    end
    return "\xcf" .. be32(floor(n / BIG)) .. be32(n % BIG)
  end
  if n >= -32 then
    return char(256 + n)
  end
  if n >= -2147483648 then
    return "\xd2" .. be32(n + BIG)
  end
  return "\xd3" .. be32(floor(n / BIG) + BIG) .. be32(n % BIG)
end

--- Raise where one of list[from..to] is no string.
function M.check_texts(list, from, to)
  for i = from, to do
    if type(list[i]) ~= "string" then
      error("element " .. i .. " is a " .. type(list[i]))
    end
  end
end

--- Append list[from..to] to a string.buffer. No text is made of them: Lua would look it up among all others.
function M.put_texts(buffer, list, from, to)
  for i = from, to do
    local s = list[i]
    buffer:put(prefixes[#s] or text_prefix(#s), s)
  end
end

--- Append one string in the same way.
function M.put_text(buffer, s)
  buffer:put(prefixes[#s] or text_prefix(#s), s)
end

--- Pack a string, an integer, or an array of these (nested as deep as it is).
function M.pack(value)
  local kind = type(value)
  if kind == "string" then
    return text_prefix(#value) .. value
  end
  if kind == "number" then
    return M.int(value)
  end
  if kind ~= "table" then
    error("mp.pack: cannot pack a " .. kind)
  end
  local parts = { M.array(#value) }
  for i = 1, #value do
    parts[i + 1] = M.pack(value[i])
  end
  return concat(parts)
end

-- The readers take (s, i, size, depth), i being the first byte after the type byte, and return the value and
-- the position after it, or nothing and nil and the reason.

local function uint(s, i, size, width)
  if i + width - 1 > size then
    return nil
  end
  local n = 0
  for k = i, i + width - 1 do
    n = n * 256 + byte(s, k)
  end
  return n
end

local read

local function read_bytes(s, i, size, n)
  if n > size - i + 1 then
    return nil, nil, "truncated"
  end
  return sub(s, i, i + n - 1), i + n
end

local function read_array(s, i, size, n, depth)
  if n > size - i + 1 then -- each element takes a byte at least: no allocation for a lie
    return nil, nil, "truncated"
  end
  local out = new_table(n < MANY and n or 0, 0)
  for k = 1, n do
    local value, after, err = read(s, i, size, depth)
    if not after then
      return nil, nil, err
    end
    if value == nil then
      value = M.NULL
    end
    out[k], i = value, after
  end
  return out, i
end

local function read_map(s, i, size, n, depth)
  if n * 2 > size - i + 1 then
    return nil, nil, "truncated"
  end
  local out = new_table(0, n < MANY and n or 0)
  for _ = 1, n do
    local key, value, after, err
    local tag = byte(s, i)
    if tag and tag > 0xa0 and tag < 0xc0 and i + tag - 0xa0 <= size then -- a short text, as nearly all keys are
      after = i + tag - 0x9f
      key = sub(s, i + 1, after - 1)
    else
      key, after, err = read(s, i, size, depth)
      if not after then
        return nil, nil, err
      end
      if type(key) ~= "string" and type(key) ~= "number" then
        return nil, nil, "map key is not text or an integer"
      end
    end
    tag = byte(s, after)
    if tag and tag > 0xa0 and tag < 0xc0 and after + tag - 0xa0 <= size then
      i = after + tag - 0x9f
      value = sub(s, after + 1, i - 1)
    else
      value, i, err = read(s, after, size, depth)
      if not i then
        return nil, nil, err
      end
    end
    out[key] = value -- nil as a value is an absent key
  end
  return out, i
end

local UINT = { [0xcc] = 1, [0xcd] = 2, [0xce] = 4, [0xcf] = 8 }
local INT = { [0xd0] = 1, [0xd1] = 2, [0xd2] = 4, [0xd3] = 8 }
local BYTES = { [0xd9] = 1, [0xda] = 2, [0xdb] = 4, [0xc4] = 1, [0xc5] = 2, [0xc6] = 4 }
local ARRAY = { [0xdc] = 2, [0xdd] = 4 }
local MAP = { [0xde] = 2, [0xdf] = 4 }

local function read_long(s, i, size, tag, depth)
  local width = UINT[tag] or INT[tag] or BYTES[tag] or ARRAY[tag] or MAP[tag]
  if not width then
    return nil, nil, "unsupported type " .. tag
  end
  local n = uint(s, i, size, width)
  if not n then
    return nil, nil, "truncated"
  end
  i = i + width
  if UINT[tag] then
    return n, i
  end
  if INT[tag] then
    if n >= 2 ^ (width * 8 - 1) then
      if width == 8 then -- subtract in halves, a double holds 53 bits
        local high, low = uint(s, i - 8, size, 4), uint(s, i - 4, size, 4)
        return (high - BIG) * BIG + low, i
      end
      n = n - 2 ^ (width * 8)
    end
    return n, i
  end
  if BYTES[tag] then
    return read_bytes(s, i, size, n)
  end
  if ARRAY[tag] then
    return read_array(s, i, size, n, depth)
  end
  return read_map(s, i, size, n, depth)
end

function read(s, i, size, depth)
  if i > size then
    return nil, nil, "truncated"
  end
  if depth > MAX_DEPTH then
    return nil, nil, "nested too deep"
  end
  local tag = byte(s, i)
  i = i + 1
  if tag < 0x80 then
    return tag, i
  elseif tag < 0x90 then
    return read_map(s, i, size, tag - 0x80, depth + 1)
  elseif tag < 0xa0 then
    return read_array(s, i, size, tag - 0x90, depth + 1)
  elseif tag < 0xc0 then
    return read_bytes(s, i, size, tag - 0xa0)
  elseif tag >= 0xe0 then
    return tag - 256, i
  elseif tag == 0xc0 then
    return nil, i
  elseif tag == 0xc2 then
    return false, i
  elseif tag == 0xc3 then
    return true, i
  end
  return read_long(s, i, size, tag, depth + 1)
end

--- Decode one value that fills the whole string, or its bytes from first to last.
-- Returns the value (nil for MessagePack's nil), or nil and the reason.
function M.decode(s, first, last)
  if type(s) ~= "string" then
    return nil, "not a string"
  end
  local size = last or #s
  local value, after, err = read(s, first or 1, size, 0)
  if not after then
    return nil, err
  end
  if after ~= size + 1 then
    return nil, "bytes after the value"
  end
  return value
end

return M
