--- A batch of outcomes as columns (docs/protocol.md). Most requests of a moment have all alike but their time and the
-- client's address: what is alike, a kind, goes out once in a batch, and of each request the place of its kind. An
-- outcome so takes some 20 bytes, and 300 as a row of its own.
--
-- The columns are buffers, not strings: each string of Lua's is looked up among all others and swept later. Measured on
-- Kong 3.9.3 for rows: 6 us of 60 a request.

local mp = require "kong.plugins.kgate.mp"
local buffer = require "string.buffer"

local char, floor, type, error = string.char, math.floor, type, error

local M = {}

local FIELDS = 10 -- of a kind
local MAX_KNOWN = 8 -- kinds of a route that are looked for
local MAX_MISSES = 64 -- after so many others they are looked for anew
local LAST_MILLISECOND = 2 ^ 32 - 1

local kinds, places, times, addresses = buffer.new(), buffer.new(), buffer.new(), buffer.new()
local n_kinds, n, batch = 0, 0, 0

local two, four = {}, {} -- little-endian integers
for value = 0, 255 do
  two[value] = char(value, 0)
end
for value = 0, 1023 do
  four[value] = char(value % 256, floor(value / 256), 0, 0)
end

local function of_two(value)
  return two[value] or char(value % 256, floor(value / 256))
end

local function of_four(value)
  return four[value] or char(value % 256, floor(value / 256) % 256, floor(value / 65536) % 256, floor(value / 16777216))
end

-- From the last field on: they differ most. No loop: see READER in facts.lua.
local function is_of(kind, fields)
  return kind[10] == fields[10] and kind[9] == fields[9] and kind[8] == fields[8] and kind[7] == fields[7]
    and kind[6] == fields[6] and kind[5] == fields[5] and kind[4] == fields[4] and kind[3] == fields[3]
    and kind[2] == fields[2] and kind[1] == fields[1]
end

local function find(known, fields)
  local last = known.last
  if last and is_of(last, fields) then
    return last
  end
  for i = 1, #known do
    local kind = known[i]
    if is_of(kind, fields) then
      known.last = kind
      return kind
    end
  end
end

local function write(fields)
  mp.check_texts(fields, 1, FIELDS)
  kinds:put("\x9a") -- an array of 10
  mp.put_texts(kinds, fields, 1, FIELDS)
  local place = n_kinds
  n_kinds = place + 1
  return place
end

-- Where each request is of a kind of its own (a memo of scenarios) none of them is kept.
local function learn(known, fields)
  local misses = (known.misses or 0) + 1
  if #known == MAX_KNOWN and misses < MAX_MISSES then
    known.misses = misses
    return nil
  end
  if misses >= MAX_MISSES then
    for i = #known, 1, -1 do
      known[i] = nil
    end
    misses = 0
  end
  known.misses = misses
  local kind = { batch = -1, place = -1 }
  for i = 1, FIELDS do
    kind[i] = fields[i]
  end
  known[#known + 1] = kind
  return kind
end

--- Append the outcome of one request. known: a table to keep the route's kinds in; fields: the 10 texts of a kind, in
-- the order of docs/protocol.md. Raises, with nothing appended, for what is no text.
function M.add(known, fields, milliseconds, address)
  if type(address) ~= "string" then
    error("the address is a " .. type(address))
  end
  local kind = find(known, fields)
  local place
  if kind and kind.batch == batch then
    place = kind.place
  else
    place = write(fields)
    kind = kind or learn(known, fields)
    if kind then
      kind.batch, kind.place = batch, place
    end
  end
  places:put(of_two(place))
  times:put(of_four(milliseconds < LAST_MILLISECOND and milliseconds or LAST_MILLISECOND))
  mp.put_text(addresses, address)
  n = n + 1
end

--- How many outcomes there are.
function M.count()
  return n
end

--- Take what there is: the size of the packed columns in bytes, and their parts as an array of texts.
function M.take()
  local heads = { "\x94" .. mp.array(n_kinds), mp.bytes(2 * n), mp.bytes(4 * n), mp.array(n) }
  local size = #kinds + 6 * n + #addresses
  for i = 1, #heads do
    size = size + #heads[i]
  end
  local parts = { heads[1], kinds:get(), heads[2], places:get(), heads[3], times:get(), heads[4], addresses:get() }
  n_kinds, n, batch = 0, 0, batch + 1
  return size, parts
end

return M
