-- ARGV: time, id, owner, by ms, longest life ms. Answers the hold, or an empty list.

if not is_loaded then return {} end
local hold = find(ARGV[2], ARGV[3])
if not hold then return {} end
local ends = math.min(now + tonumber(ARGV[4]), tonumber(hold.began) + tonumber(ARGV[5]))
hold.ends = text(math.max(tonumber(hold.ends), ends))
call('ZADD', DEADLINES, 'XX', hold.ends, hold.id)
write(hold)
return { told(hold) }
