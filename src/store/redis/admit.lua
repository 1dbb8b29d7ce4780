-- ARGV: time; then, when the caller knew the line, its epoch, its next number, the
-- last entry of its log and the passes claimed in it; then, when it knew the draw,
-- whether the numbers that follow are all ('1'), and those: whose turn is next.

if not room.epoch then return false end
now = clock()

-- The instant a due tick counts from; see admission::due.
local function due()
  if not room.last_tick_at then return now end
  local at = count('last_tick_at') + limit('tick_ms')
  if now < at then return nil end
  return now - at < limit('tick_ms') and at or now
end

-- Calls visitors; at most CHUNK. Where they were, they are still.
local function call_all(visitors, numbers, again)
  if #visitors == 0 then return end
  local deadline = now + limit('claim_ms') - moved()
  local called, places, holders = {}, {}, {}
  for i, visitor in ipairs(visitors) do
    called[2 * i - 1], called[2 * i] = deadline, visitor
    places[2 * i - 1], places[2 * i] = visitor, place('C', numbers[i], again)
    holders[2 * i - 1], holders[2 * i] = numbers[i], visitor
  end
  call('ZADD', CALLED, unpack(called))
  call('HSET', HOLDERS, unpack(holders))
  call('HSET', PLACES, unpack(places))
end

-- Calls the first of a set; at most CHUNK. They are in the set still.
local function call_first(set, most, again)
  local first = call('ZRANGE', set, 0, math.min(most, CHUNK) - 1, 'WITHSCORES')
  local visitors, numbers = {}, {}
  for i = 1, #first, 2 do
    visitors[#visitors + 1], numbers[#numbers + 1] = first[i], text(first[i + 1])
  end
  call_all(visitors, numbers, again)
  return visitors, numbers
end

-- Those of the draw whose turn it is; nil when the caller does not know enough of them.
local function drawn_turns(most)
  local visitors, numbers = {}, {}
  if not room.drawn then return visitors, numbers end
  for i = 7, #ARGV do
    if #visitors == most then break end
    local is_in = tonumber(ARGV[i]) < count('frozen')
    local visitor = is_in and call('ZRANGEBYSCORE', WAITING, ARGV[i], ARGV[i])[1]
    if visitor then visitors[#visitors + 1], numbers[#numbers + 1] = visitor, ARGV[i] end
  end
  local there = math.min(most, call('ZCOUNT', WAITING, '-inf', '(' .. room.frozen))
  if #visitors < there and ARGV[6] ~= '1' then return nil end
  return visitors, numbers
end

local function call_drawn(visitors, numbers)
  for from = 1, #visitors, CHUNK do
    local upto = math.min(from + CHUNK - 1, #visitors)
    local some, theirs = { unpack(visitors, from, upto) }, { unpack(numbers, from, upto) }
    call_all(some, theirs, '0')
    append(theirs, {})
    call('ZREM', WAITING, unpack(some))
  end
  return #visitors
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
if ARGV[2] and not is_as_known(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]) then return report(0) end
if is_coming_back(now) then return report(0) end
if count('recovering_until') > 0 then
  call('HDEL', ROOM, 'recovering_until', 'out_below')
  call('UNLINK', OUT)
  room.recovering_until, room.out_below = nil, nil
end
freeze(now)
local counts_from = due()
if not counts_from then return report(0) end
local most = is_shut(now) and 0 or space()
local drawn, numbers = drawn_turns(most - math.min(most, call('ZCARD', RETURNING)))
if not drawn then return report(0) end
-- First of all: a tick that fails half-way is over, not repeated.
put('last_tick_at', counts_from)
add('tick', 1)
local admitted = call_returners(most)
admitted = admitted + call_drawn(drawn, numbers)
admitted = admitted + call_waiting(most - admitted)
if admitted > 0 then note_admitted(admitted) end
return report(admitted)
