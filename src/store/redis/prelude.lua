-- What every operation shares: the room's keys, its hash, its time.
-- Rust puts before it: the flags, and the model's constants
-- CHUNK, SWEEP, PRUNE, LOG_KEPT, FORMER, REMEMBERED (ms), JUMP (ms), OUTAGE (ms).
-- ARGV[1] is 'TIME/EXPECTED' in ms: the time to use, '' for Redis's own, and what it
-- is by the caller's account, '' when that has none.

local ROOM, WAITING, HEARD, PAGES, JOINED, RETURNING, CALLED, PASSES, PLACES, HOLDERS, ENDED, RECENT, REVOKED, LOG,
  OUT, SEEN, HANDED, ENTRIES, BOUND = unpack(KEYS)
local call = redis.call

-- The hash. An empty one: nobody opened the room, or it was lost.
local room = {}
do
  local flat = call('HGETALL', ROOM)
  for i = 1, #flat, 2 do room[flat[i]] = flat[i + 1] end
end

local function put(field, value)
  room[field] = value
  call('HSET', ROOM, field, value)
end

local function add(field, by)
  room[field] = call('HINCRBY', ROOM, field, by)
  return room[field]
end

local function count(field) return tonumber(room[field]) or 0 end

-- Concatenation alone would write large numbers as 1e+15; '%.0f' takes twice as long.
local function text(number) return string.format('%d', number) end

-- A limit as operators changed it (set:), else as in the settings (base:); nil = none.
local function limit(name)
  local changed = tonumber(room['set:' .. name])
  if not changed then return tonumber(room['base:' .. name]) end
  -- In a change 0 switches these two off.
  local off = changed == 0 and (name == 'rate_per_minute' or name == 'max_waiting')
  return not off and changed or nil
end

local function is_set(name) return limit(name) == 1 end

-- Whether the capacity follows the app's health, and what is in force of it.
local function is_tuned() return room['base:autotune'] == '1' and not room['set:capacity'] end

local function capacity()
  local set, tuned = limit('capacity'), tonumber(room.tuned)
  return is_tuned() and tuned and math.min(tuned, set) or set
end

-- When the doors open; nil = they are open. A change is of one opening only.
local function opens_at()
  local base = tonumber(room['base:opens_at'])
  if tonumber(room['set:opening_of']) == (base or 0) then return tonumber(room['set:opens_at']) end
  return base
end

-- Whether nobody is admitted, and whether nobody joins; see Settings.
local function is_shut(now)
  return is_set('paused') or is_set('closed') or now < (opens_at() or 0) or is_set('draw') and not room.drawn
end

-- From the opening on who joins is not in the draw.
local function freeze(now)
  if is_set('draw') and not room.frozen and now >= (opens_at() or 0) then put('frozen', text(count('next'))) end
end

local function takes_nobody(now)
  local gather_from = tonumber(room['base:gather_from']) or 0
  return is_set('closed') or is_set('draining') or now < math.min(opens_at() or 0, gather_from)
end

-- The line's time, which never runs backwards and knows nothing of a clock that
-- was set; see Line::time.
local function clock()
  local told, expected = ARGV[1]:match('^(%d*)/(%d*)$')
  local last, skew, now = count('now'), count('skew_ms'), tonumber(told)
  expected = tonumber(expected)
  if not now then
    local time = call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  now = math.max(0, now - skew)
  if expected and expected + JUMP >= last and math.abs(now - expected) > JUMP then
    put('skew_ms', text(skew + now - expected))
    now = expected
  end
  now = math.max(now, last)
  if now > last then put('now', now) end
  if last > 0 and now - last > OUTAGE then put('settled_at', text(now + OUTAGE)) end
  return now
end

-- Whether this is the line that a gate knew, and not behind that; see Line::is_as_known.
local function is_as_known(epoch, next, log_seq, claimed, drawn)
  return epoch == room.epoch and tonumber(next) <= count('next') and tonumber(log_seq) <= count('log_seq')
    and tonumber(claimed) <= count('claimed') and (not drawn or room.drawn)
end

-- Whether the line comes back from a loss; see Line::recall.
local function is_coming_back(now) return now < count('recovering_until') end
