--- Reads the server's answers to numbered questions (docs/protocol.md). A verdict that many requests get is sent once
-- on a connection, with a slot to remember it in; later answers name the slot, the request's id and the question's
-- number.
--
-- A user's requests of a few seconds get one verdict, most of it a passport of half a kilobyte. To read it again for
-- each would make a dozen texts and two tables, each looked up or swept by Lua among all others.

local mp = require "kong.plugins.kgate.mp"
local verdicts = require "kong.plugins.kgate.verdict"

local byte, sub, type = string.byte, string.sub, type
local ngx = ngx

local M = {}

local SLOTS = 1024 -- of one connection
local UNTOLD = "bad answer: a verdict that was not told"

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

--- The epoch of a beat, { b: epoch, q: 0 } with five bytes for each; nil where it is none.
function M.epoch(data, first, last)
  local head, key, letter, kind, a, b, c, d = byte(data, first, first + 7)
  if last - first == 14 and head == 0x82 and key == 0xa1 and letter == 0x62 and kind == 0xce then
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
end

-- { r: slot, n: id, q: number }, the slot in five bytes, the id with one byte of length.
local function is_short(data, first)
  local head, key, letter, kind = byte(data, first, first + 3)
  return head == 0x83 and key == 0xa1 and letter == 0x72 and kind == 0xce
end

local function remembered(data, first, last, id, told)
  local a, b, c, d, key, letter, kind, size = byte(data, first + 4, first + 11)
  if size == nil or key ~= 0xa1 or letter ~= 0x6e or kind ~= 0xd9 or first + 18 + size ~= last
    or sub(data, first + 12, last - 7) ~= id then
    return nil, "bad answer: of another request"
  end
  local verdict = told[((a * 256 + b) * 256 + c) * 256 + d]
  if not verdict then
    return nil, UNTOLD
  end
  return verdict, true
end

local FIELDS = { "v", "tn", "ch", "h", "s", "u", "p", "rt", "m", "rs", "a" }

-- A remembered verdict as one on this request: with its id, and with what is its own (x) in place of what is alike.
function M.vary(verdict, id, own)
  local out = { n = id }
  for i = 1, #FIELDS do
    local field = FIELDS[i]
    local value = own[field]
    if value == nil then
      value = verdict[field]
    end
    out[field] = value
  end
  return out
end

-- Only a sound verdict that lets requests pass is remembered: whoever is answered by the gateway gets his own answer.
local function remember(verdict, told)
  local slot, id = verdict.d, verdict.n
  if type(slot) ~= "number" or slot < 0 or slot >= SLOTS then
    return false
  end
  local sound = type(id) == "string" and not verdict.st and verdicts.is_valid(verdict, id)
  told[slot] = sound and verdict or nil
  return sound
end

-- What is said of a verdict's lease, [milliseconds, epoch], as a time; it takes the place of what was said before.
local function take_lease(verdict, lease)
  local ms, epoch
  if type(lease) == "table" then
    ms, epoch = lease[1], lease[2]
  end
  local sound = type(ms) == "number" and type(epoch) == "number"
  verdict.l = sound and { till = ngx.now() + ms / 1000, epoch = epoch } or nil
end

--- The answer in data[first..last] to the request with this id (nil: to one that nobody waits for any more), and
-- whether it is a verdict that was found sound and to be on this request. Or nil and what is wrong. told: the verdicts
-- of the connection by slot; they are shared by all requests, and nothing of them is changed but the lease, `l`.
function M.read(data, first, last, id, told)
  if is_short(data, first) then
    if not id then
      return false
    end
    return remembered(data, first, last, id, told)
  end
  local answer, why = mp.decode(data, first, last)
  if type(answer) ~= "table" then
    return nil, "bad answer: " .. (why or "not a map")
  end
  local verdict, own = answer, answer.x
  if answer.r ~= nil then
    verdict = told[answer.r]
    if not verdict then
      return nil, UNTOLD
    end
  elseif answer.d == nil or not remember(answer, told) then
    answer.l = nil
    return answer, false
  end
  if answer.l ~= nil then
    take_lease(verdict, answer.l)
  end
  if own == nil then
    return verdict, answer.n == id
  end
  if type(own) ~= "table" then
    return nil, "bad answer: what varies is not a map"
  end
  verdict = M.vary(verdict, answer.n, own)
  return verdict, verdicts.is_valid(verdict, id)
end

return M
