--- Reads the server's answers to numbered questions (docs/protocol.md). What is alike in many of them is read once.
--
-- A user's requests of a few seconds get one verdict, but for the request's id and the question's number. These stand
-- last, so what comes before them is looked up as one text. To decode it again would make a dozen texts and two tables,
-- each looked up or swept by Lua among all others.

local mp = require "kong.plugins.kgate.mp"
local verdicts = require "kong.plugins.kgate.verdict"

local byte, sub, type = string.byte, string.sub, type

local M = {}

local MAX_KNOWN, MAX_BYTES = 2048, 4096 -- answers, and bytes of one

local known, count = {}, 0 -- the bytes before the id -> the verdict; shared by all requests, and never changed

--- The number of the question whose answer is data[first..last], nil where it does not stand at the end.
function M.number(data, first, last)
  if last - first < 7 then
    return nil
  end
  local key, letter, kind, a, b, c, d = byte(data, last - 6, last)
  if key == 0xa1 and letter == 0x71 and kind == 0xce then
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
end

-- The last byte before the field `n`, where it is what stands before the number and names this request.
local function end_of_rest(data, first, last, id)
  local size = #id
  local at = last - 6 - size
  if at - 4 > first and size > 31 and size < 256 then
    local key, letter, kind, length = byte(data, at - 4, at - 1)
    if key == 0xa1 and letter == 0x6e and kind == 0xd9 and length == size and sub(data, at, last - 7) == id then
      return at - 5
    end
  end
end

--- The answer in data[first..last] to the request with this id, and whether it is a verdict that was found sound and
-- to be on this request. Or nil and what is wrong.
function M.read(data, first, last, id)
  local rest_end = end_of_rest(data, first, last, id)
  local rest = rest_end and sub(data, first, rest_end)
  local found = rest and known[rest]
  if found then
    return found, true
  end
  local answer, why = mp.decode(data, first, last)
  if type(answer) ~= "table" then
    return nil, "bad answer: " .. (why or "not a map")
  end
  if not rest or #rest > MAX_BYTES or answer.st or not verdicts.is_valid(answer, id) then
    return answer, false
  end
  if count == MAX_KNOWN then
    known, count = {}, 0
  end
  known[rest], count = answer, count + 1
  return answer, true
end

return M
