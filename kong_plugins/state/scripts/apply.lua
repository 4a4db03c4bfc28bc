-- Make a batch of changes, or none of them.
--
-- KEYS[1] version   [2] log   [3] events   [4] expiry   [5] links   [6...] one hash for each collection, in their order
-- ARGV[1] JSON of {channel, bulk (prefix of the keys of rows), max_log, max_events,
--   collections: [[name, cap, rows, all_rows], ...],
--   event: [] or [kind, actor, subject, reason, data],
--   changes: [["put" or "delete", collection, key, if_version or -1, body, expires or "", bulk or ""], ...]}
--
-- Returns {"ok", version, time, versions of the records}, {"conflict", n, stored text or ""}, {"full", collection}, {"gone", n} (the staged rows),
-- {"rows", n} (too many in one record) or {"all_rows", collection}; n counts the changes from 0.
--
-- A record is stored as VERSION CREATED CHANGED BODY: its JSON is never read here, Lua's numbers lose digits.
-- links: "floor COLLECTION" -> the highest version that a removed record had; one that is set anew begins above it.
-- And "COLLECTION KEY" -> "ID COUNT" of the rows of a record. Rows are at KEY_PREFIX:bulk:ID: that name cannot be
-- known to the caller for rows that this step replaces, but it has the same hash tag, so the same slot.

local PURGE_LIMIT = 1000 -- a script must stay short: the rest goes with the next change

local batch = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = string.format('%s.%06d', time[1], tonumber(time[2]))

local hash, limits = {}, {}
for n, collection in ipairs(batch.collections) do
  hash[collection[1]] = KEYS[5 + n]
  limits[collection[1]] = {cap = collection[2], rows = collection[3], all_rows = collection[4]}
end

local function drop_rows(member)
  local link = redis.call('HGET', KEYS[5], member)
  if link then
    redis.call('UNLINK', batch.bulk .. string.match(link, '^%S+'))
    redis.call('HDEL', KEYS[5], member)
  end
end

local function remove(collection, key)
  local member = collection .. ' ' .. key
  local stored = redis.call('HGET', hash[collection], key)
  redis.call('ZREM', KEYS[4], member)
  drop_rows(member)
  if not stored then
    return 0
  end
  redis.call('HDEL', hash[collection], key)
  -- What comes in its place must not have a version that somebody has seen. After the HDEL: a full Redis lets a
  -- script write only once it has made room
  local floor = 'floor ' .. collection
  local version = tonumber(string.match(stored, '^%d+'))
  if version > tonumber(redis.call('HGET', KEYS[5], floor) or 0) then
    redis.call('HSET', KEYS[5], floor, string.format('%.0f', version))
  end
  return 1
end

-- Removes records that have ended; a follower looks at their end itself, so this is no change.
local function purge()
  local ended = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, PURGE_LIMIT)
  for _, member in ipairs(ended) do
    local collection, key = string.match(member, '^(%S+) (.*)$')
    remove(collection, key)
  end
  return #ended
end

-- First look, then touch: from here to `make` nothing is written but the purge.
purge()
for n, change in ipairs(batch.changes) do
  local collection, key = change[2], change[3]
  local score = redis.call('ZSCORE', KEYS[4], collection .. ' ' .. key)
  if score and tonumber(score) <= tonumber(now) then
    remove(collection, key)
  end
  if change[4] >= 0 then
    local stored = redis.call('HGET', hash[collection], key)
    local version = stored and tonumber(string.match(stored, '^(%d+) ')) or 0
    if version ~= change[4] then
      return {'conflict', n - 1, stored or ''}
    end
  end
end

local more, adding = {}, {}
for _, change in ipairs(batch.changes) do
  local collection = change[2]
  local there = redis.call('HEXISTS', hash[collection], change[3]) == 1
  if change[1] == 'put' and not there then
    more[collection] = (more[collection] or 0) + 1
    adding[#adding + 1] = collection
  elseif change[1] == 'delete' and there then
    more[collection] = (more[collection] or 0) - 1
  end
end
table.sort(adding)
for _, collection in ipairs(adding) do
  local room = limits[collection].cap - more[collection]
  while redis.call('HLEN', hash[collection]) > room do
    if purge() == 0 then
      return {'full', collection}
    end
  end
end

-- counts[n] is set for each put that links staged rows
local counts = {}
for _, entry in ipairs(batch.collections) do
  local name, held, linking = entry[1], nil, false
  if entry[3] > 0 then
    for n, change in ipairs(batch.changes) do
      if change[2] == name then
        if not held then
          held = {}
          local links = redis.call('HGETALL', KEYS[5])
          for at = 1, #links, 2 do
            local key = string.match(links[at], '^' .. name .. ' (.*)$')
            if key then
              held[key] = links[at + 1]
            end
          end
        end
        local key, bulk = change[3], change[7]
        if change[1] == 'delete' then
          held[key] = nil
        elseif string.match(held[key] or '', '^%S*') ~= bulk then
          -- staged rows have a TTL, linked ones do not: nobody links the rows of another record
          if redis.call('TTL', batch.bulk .. bulk) < 0 then
            return {'gone', n - 1}
          end
          counts[n] = redis.call('HLEN', batch.bulk .. bulk)
          if counts[n] > entry[3] then
            return {'rows', n - 1}
          end
          held[key] = bulk .. ' ' .. counts[n]
          linking = true
        end
      end
    end
    if linking then
      local sum = 0
      for _, link in pairs(held) do
        sum = sum + tonumber(string.match(link, ' (%d+)$'))
      end
      if sum > entry[4] then
        return {'all_rows', name}
      end
    end
  end
end

-- versions[n] is the record's version after change n, "0" for a delete
local done, versions = {}, {}

local function make(n, change)
  local action, collection, key = change[1], change[2], change[3]
  local member = collection .. ' ' .. key
  if action == 'delete' then
    versions[n] = '0'
    if remove(collection, key) == 1 then
      done[#done + 1] = {'delete ' .. member, ''}
    end
    return
  end
  local stored = redis.call('HGET', hash[collection], key)
  local version, created
  if stored then
    version, created = string.match(stored, '^(%d+) (%S+) ')
  else
    version, created = redis.call('HGET', KEYS[5], 'floor ' .. collection) or 0, now
  end
  versions[n] = string.format('%.0f', tonumber(version) + 1)
  local text = string.format('%s %s %s ', versions[n], created, now) .. change[5]
  redis.call('HSET', hash[collection], key, text)
  if change[6] == '' then
    redis.call('ZREM', KEYS[4], member)
  else
    redis.call('ZADD', KEYS[4], change[6], member)
  end
  if counts[n] then
    drop_rows(member)
    redis.call('PERSIST', batch.bulk .. change[7])
    redis.call('HSET', KEYS[5], member, change[7] .. ' ' .. string.format('%.0f', counts[n]))
  end
  done[#done + 1] = {'put ' .. member, text}
end

for n, change in ipairs(batch.changes) do
  make(n, change)
end

-- The first version is the clock in milliseconds: a store that lost its data starts above every version that it
-- had before, so nobody takes the new state for an old one.
local version = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
if #done > 0 then
  if version > 0 then
    version = version + 1
  else
    version = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
    if last then
      version = math.max(version, tonumber(string.match(last[1], '^%d+')) + 1)
    end
  end
  redis.call('SET', KEYS[1], string.format('%.0f', version))
end
local told = string.format('%.0f', version)
for n, change in ipairs(done) do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', batch.max_log, told .. '-' .. (n - 1), change[1], change[2])
end
local event = batch.event
if #event > 0 and (#done > 0 or #batch.changes == 0) then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', batch.max_events, '*',
    'kind', event[1], 'actor', event[2], 'subject', event[3], 'reason', event[4],
    'data', (string.gsub(event[5], '"version":"@new"', '"version":' .. (versions[1] or '0'))))
end
if #done > 0 then
  redis.call('PUBLISH', batch.channel, told)
end
return {'ok', told, now, table.concat(versions, ' ')}
