-- Rate limits of one request, all or nothing (the generic cell rate algorithm, see gcra.py). Times in microseconds.
-- KEYS: one for each limit. ARGV: emission, burst, cost for each.
-- Returns for each limit whether it admits (1 or 0) and how far its TAT is ahead of now.
local t = redis.call("TIME")
local now = t[1] * 1000000 + t[2]
local found, after, all = {}, {}, true
for i = 1, #KEYS do
  local emission, burst, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local tat = tonumber(redis.call("GET", KEYS[i]) or now)
  -- in the past it says nothing; further ahead than the burst only a clock that went back puts it
  tat = math.min(math.max(tat, now), now + burst)
  after[i] = tat + emission * cost
  local admits = after[i] - now <= burst
  all = all and admits
  found[2 * i - 1], found[2 * i] = admits and 1 or 0, math.floor(tat - now)
end
if all then
  for i = 1, #KEYS do
    redis.call("SET", KEYS[i], string.format("%.0f", after[i]), "PX", math.ceil((after[i] - now) / 1000) + 1000)
    found[2 * i] = math.floor(after[i] - now)
  end
end
return found
