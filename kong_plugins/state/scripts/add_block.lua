-- ARGV[2] field   ARGV[3] record (JSON)   ARGV[4] expiry (Unix seconds, '' for never)   ARGV[5] cap
-- Returns {'ok', version} or {'full'}.
purge_expired_blocks()
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[5]) then
  return {'full'}
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[3], ARGV[2])
else
  redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
end
return {'ok', changed()}
