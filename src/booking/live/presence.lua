-- KEYS: a hash of an event, process to 'count until'. ARGV: process, its count,
-- ms until that is forgotten. Answers the sum of all that are not.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local count, life = tonumber(ARGV[2]), tonumber(ARGV[3])
local sum = count
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local of, ends = all[i + 1]:match('^(%d+) (%d+)$')
  if not ends or tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[1] then
    sum = sum + tonumber(of)
  end
end
if count == 0 then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %d', count, now + life))
  redis.call('PEXPIRE', KEYS[1], life)
end
return sum
