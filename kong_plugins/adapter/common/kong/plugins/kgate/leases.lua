--- Leases: verdicts that stand for more requests than the one that asked (docs/protocol.md). The server says which and
-- for how long; here they are kept, and found for requests of the same route that agree in all facts but the path,
-- their id and their trace.
--
-- A lease is over when its time is, when the server tells another epoch on the connection it came by, when that
-- connection ends, and when nothing was heard there for a tenth of a second: a server that hangs or is gone vouches
-- for nothing.

local answers = require "kong.plugins.kgate.answers"

local setmetatable, min = setmetatable, math.min

local M = {}

local MAX_LEASES = 4096
local MAX_BYTES = 12288 -- of the headers of one: else 4,096 of a user who varies them could take all memory
local LONGEST_SECONDS = 10 -- the server's, for whom the clock was set back since it said so
local SILENT_SECONDS = 0.1
local WEAK = { __mode = "k" }

local held, count = setmetatable({}, WEAK), 0 -- plan -> { [who] = lease }

-- Whose verdict it is, to look it up by: the credentials, or the address. It is found by equal facts, not by this.
local function who(list, n)
  if list[14] == "authorization" and n > 14 then
    return list[15]
  end
  local cookie
  for i = 14, n, 2 do
    local name = list[i]
    if name == "authorization" then
      return list[i + 1]
    elseif name == "cookie" then
      cookie = list[i + 1]
    end
  end
  return cookie or list[3]
end

local function stands(link, epoch, till, now)
  local heard = link.heard
  -- heard later than now: the clock was set back
  return link.epoch == epoch and not link.closed and now < till and now >= heard and now - heard < SILENT_SECONDS
end

local function is_same(lease, list, i)
  local name = list[i]
  return lease[i] == name and (lease[i + 1] == list[i + 1] or name == "traceparent")
end

-- The first headers without a loop (see READER in facts.lua).
local function is_alike(lease, list, n)
  if lease.n ~= n or lease[13] ~= list[13] or lease[3] ~= list[3] or lease[4] ~= list[4] or lease[5] ~= list[5]
    or lease[6] ~= list[6] then
    return false
  end
  if (n > 14 and not is_same(lease, list, 14)) or (n > 16 and not is_same(lease, list, 16))
    or (n > 18 and not is_same(lease, list, 18)) or (n > 20 and not is_same(lease, list, 20))
    or (n > 22 and not is_same(lease, list, 22)) then
    return false
  end
  for i = 24, n, 2 do
    if not is_same(lease, list, i) then
      return false
    end
  end
  return true
end

--- The verdict that stands for this request of a route: with the n facts that fill_alike (facts.lua) has put into list.
function M.find(plan, list, n, now)
  local leases = held[plan]
  local lease = leases and leases[who(list, n)]
  -- kept later than now: the clock was set back, and `till` says nothing any more
  if lease and now >= lease.since and stands(lease.link, lease.epoch, lease.till, now) and is_alike(lease, list, n) then
    return lease.verdict
  end
end

local function is_long(list, n)
  local bytes = 0
  for i = 14, n do
    bytes = bytes + #list[i]
  end
  return bytes > MAX_BYTES
end

-- As it was given, but that the memo says with the outcome that nobody was asked, and the reason.
local function copy(verdict)
  local word = "lease=" .. (verdict.rs or "")
  return answers.vary(verdict, verdict.n, { m = verdict.m and verdict.m .. " " .. word or word })
end

--- Keep the lease of a verdict that came by this link, for requests with these facts; false where it has none that
-- holds, or these are long.
function M.keep(plan, list, n, verdict, link, now)
  local given = verdict.l
  if not given or not stands(link, given.epoch, given.till, now) or is_long(list, n) then
    return false
  end
  local key = who(list, n)
  local leases = held[plan]
  if not (leases and leases[key]) then
    if count >= MAX_LEASES then
      held, count, leases = setmetatable({}, WEAK), 0, nil
    end
    count = count + 1
  end
  if not leases then
    leases = {}
    held[plan] = leases
  end
  local lease = { n = n, link = link, epoch = given.epoch, verdict = copy(verdict) }
  lease.since, lease.till = now, min(given.till, now + LONGEST_SECONDS)
  for i = 3, 6 do
    lease[i] = list[i]
  end
  for i = 13, n do
    lease[i] = list[i]
  end
  leases[key] = lease
  return true
end

return M
