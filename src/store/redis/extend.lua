-- ARGV: time, visitor, ms. Answers the pass, or an empty list when there is none.

if not room.epoch then return false end
now = clock()
local visitor = ARGV[2]
local kind, number, issued = find(visitor)
if kind ~= 'I' then return {} end
local ends = tonumber(call('ZSCORE', PASSES, visitor))
if now >= ends then return {} end
issued = tonumber(issued)
ends = math.max(ends, math.min(now + ARGV[3], issued + limit('pass_max_ms')))
call('ZADD', PASSES, ends, visitor)
return { number, issued, ends }
