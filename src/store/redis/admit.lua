-- ARGV: time; then, when the caller knew the line, its epoch, its next number and
-- the last entry of its log.

if not room.epoch then return false end
now = clock()

-- The instant a due tick counts from; see admission::due.
local function due()
  if not room.last_tick_at then return now end
  local at = count('last_tick_at') + limit('tick_ms')
  if now < at then return nil end
  return now - at < limit('tick_ms') and at or now
end

-- Calls the first of a set; at most CHUNK. They are in the set still.
local function call_first(set, most, again)
  local first = call('ZRANGE', set, 0, math.min(most, CHUNK) - 1, 'WITHSCORES')
  local deadline = now + limit('claim_ms') - moved()
  local visitors, numbers, called, places, holders = {}, {}, {}, {}, {}
  for i = 1, #first, 2 do
    local visitor, number = first[i], text(first[i + 1])
    visitors[#visitors + 1], numbers[#numbers + 1] = visitor, number
    called[i], called[i + 1] = deadline, visitor
    places[i], places[i + 1] = visitor, place('C', number, again)
    holders[i], holders[i + 1] = number, visitor
  end
  if #visitors > 0 then
    call('ZADD', CALLED, unpack(called))
    call('HSET', HOLDERS, unpack(holders))
    call('HSET', PLACES, unpack(places))
  end
  return visitors, numbers
end

local function call_returners(most)
  local left = most
  while left > 0 do
    local visitors = call_first(RETURNING, left, '1')
    if #visitors == 0 then break end
    call('ZREM', RETURNING, unpack(visitors))
    left = left - #visitors
  end
  return most - left
end

local function call_waiting(most)
  local left = most
  while left > 0 do
    local visitors, numbers = call_first(WAITING, left, '0')
    if #visitors == 0 then break end
    append(numbers, {})
    call('ZREMRANGEBYRANK', WAITING, 0, #visitors - 1)
    left = left - #visitors
  end
  return most - left
end

-- Another line, or one that lost its end: nobody is admitted from that.
if ARGV[2] then
  local next, log_seq = tonumber(ARGV[3]), tonumber(ARGV[4])
  if ARGV[2] ~= room.epoch or next > count('next') or log_seq > count('log_seq') then return report(0) end
end
if is_coming_back(now) then return report(0) end
if count('recovering_until') > 0 then
  call('HDEL', ROOM, 'recovering_until', 'out_below')
  call('UNLINK', OUT)
  room.recovering_until, room.out_below = nil, nil
end
local counts_from = due()
if not counts_from then return report(0) end
-- First of all: a tick that fails half-way is over, not repeated.
put('last_tick_at', counts_from)
add('tick', 1)
local most = is_shut(now) and 0 or space()
local admitted = call_returners(most)
admitted = admitted + call_waiting(most - admitted)
if admitted > 0 then note_admitted(admitted) end
return report(admitted)
