-- Functions that every script begins with (scripts/__init__.py puts them before the script).
-- KEYS[1] version   KEYS[2] blocks   KEYS[3] expiry of blocks   KEYS[4] canaries   ARGV[1] channel

local PURGE_LIMIT = 1000  -- a script must stay short: the rest goes with the next change

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- Count a change and tell it. The first version is the clock in milliseconds: a store that lost its data
-- starts above every version that it had before, so nobody takes the new state for an old one.
local function changed()
  local version
  if redis.call('EXISTS', KEYS[1]) == 0 then
    version = math.floor(now() * 1000)
    redis.call('SET', KEYS[1], string.format('%.0f', version))
  else
    version = redis.call('INCR', KEYS[1])
  end
  redis.call('PUBLISH', ARGV[1], string.format('%.0f', version))
  return version
end

local function purge_expired_blocks()
  local fields = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.6f', now()), 'LIMIT', 0, PURGE_LIMIT)
  if #fields > 0 then
    redis.call('HDEL', KEYS[2], unpack(fields))
    redis.call('ZREM', KEYS[3], unpack(fields))
  end
end
