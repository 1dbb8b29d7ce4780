-- ARGV: time.

if not room.epoch then return false end
now = clock()

-- The members due in a set, in chunks; at most SWEEP. Each chunk must be taken
-- out of the set by `act`.
local function sweep(set, upto, act)
  for _ = 1, SWEEP / CHUNK do
    local due = call('ZRANGEBYSCORE', set, '-inf', upto, 'WITHSCORES', 'LIMIT', 0, CHUNK)
    if #due == 0 then return end
    local members, scores = {}, {}
    for i = 1, #due, 2 do
      members[#members + 1], scores[#scores + 1] = due[i], tonumber(due[i + 1])
    end
    act(members, scores)
    if #members < CHUNK then return end
  end
end

-- Passes whose holders may not have been told yet; see Line::make_room. From the
-- last end on, so that those moved stay before those that follow.
local function move_passes(told, gap)
  local done = 0
  repeat
    local last = call('ZREVRANGEBYSCORE', PASSES, '+inf', '(' .. text(told), 'WITHSCORES', 'LIMIT', done, CHUNK)
    local moved = {}
    for i = 1, #last, 2 do moved[i], moved[i + 1] = last[i + 1] + gap, last[i] end
    if #moved > 0 then call('ZADD', PASSES, unpack(moved)) end
    done = done + #moved / 2
  until #moved < 2 * CHUNK
end

-- Nobody served the room for a while: nobody shall lose a place or a turn by it.
local function after_gap()
  if not room.alive_at then return end
  local gap = now - count('alive_at')
  if gap <= math.max(3 * limit('tick_ms'), limit('idle_ms') / 6) then return end
  put('holiday_until', now + limit('idle_ms'))
  add('moved_ms', gap)
  move_passes(count('alive_at') - limit('claim_ms') + limit('pass_ttl_ms'), gap)
end

local function forget(visitors)
  call('HDEL', PLACES, unpack(visitors))
  call('ZREM', ENDED, unpack(visitors))
end

-- Drops when numbers were taken that are all before the line's front.
local function forget_joined()
  local front = call('ZRANGE', WAITING, 0, 0, 'WITHSCORES')[2] or count('next')
  local from, upto = count('joined_from'), math.floor(front / BLOCK)
  upto = math.min(upto, from + CHUNK)
  if from >= upto then return end
  local blocks = {}
  for block = from, upto - 1 do blocks[#blocks + 1] = block end
  call('HDEL', JOINED, unpack(blocks))
  put('joined_from', upto)
end

take_over_signs()
after_gap()
put('alive_at', now)
sweep(CALLED, now - moved(), function(visitors, scores)
  for i, score in ipairs(scores) do scores[i] = score + moved() end
  run_out(CALLED, visitors, scores)
end)
sweep(PASSES, now, function(visitors, ends) run_out(PASSES, visitors, ends) end)
if now >= count('holiday_until') then
  local silence = limit('idle_ms') + math.floor(limit('idle_ms') / 6)
  evict_silent(now - silence)
end
sweep(ENDED, now - REMEMBERED, forget)
if not is_coming_back(now) then forget_joined() end
call('ZREMRANGEBYSCORE', REVOKED, '-inf', now)
return 1
