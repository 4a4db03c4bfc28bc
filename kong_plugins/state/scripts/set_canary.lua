-- ARGV[2] name   ARGV[3] record (JSON, without its version)   ARGV[4] version it must have ('' for any)   ARGV[5] cap
-- Returns {'ok', its new version}, {'conflict', its version} or {'full'}.
-- A record is stored as VERSION:JSON: Lua must not read the JSON, its numbers lose digits.
local old = redis.call('HGET', KEYS[4], ARGV[2])
local version = old and tonumber(string.match(old, '^(%d+):')) or 0
if ARGV[4] ~= '' and tonumber(ARGV[4]) ~= version then
  return {'conflict', version}
end
if not old and redis.call('HLEN', KEYS[4]) >= tonumber(ARGV[5]) then
  return {'full'}
end
redis.call('HSET', KEYS[4], ARGV[2], string.format('%.0f', version + 1) .. ':' .. ARGV[3])
changed()
return {'ok', version + 1}
