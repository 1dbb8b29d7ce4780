-- ARGV: time, a gate's word on the app: 'well' or 'unwell'; see domain::autotune.

if not room.epoch then return false end
local now = clock()
if not is_tuned() then return 1 end
if room.tuned_at and now < count('tuned_at') + STEP then return 1 end

local set, tuned = limit('capacity'), tonumber(room.tuned)
local inside = math.max(1, call('ZCARD', CALLED) + call('ZCARD', PASSES))
if ARGV[2] == 'unwell' then
  local lowered = math.floor(math.min(capacity(), inside) * PART / WHOLE)
  put('tuned', text(math.max(1, lowered)))
  put('tuned_at', now)
  put('lowered_at', now)
elseif tuned and now >= count('lowered_at') + HOLD then
  local raised = capacity() + math.max(1, math.floor(set / RISE))
  if raised < set then put('tuned', text(raised)) else call('HDEL', ROOM, 'tuned') end
  put('tuned_at', now)
end
return 1
