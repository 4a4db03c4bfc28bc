-- ARGV[2] field. Returns 1 when it was there, 0 when not.
purge_expired_blocks()
if redis.call('HDEL', KEYS[2], ARGV[2]) == 0 then
  return 0
end
redis.call('ZREM', KEYS[3], ARGV[2])
changed()
return 1
