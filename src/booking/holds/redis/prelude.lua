-- What every operation shares; the rules are those of Floor, the model.
-- ARGV[1] is the time.
--
-- STATUS has a byte a seat: F free, H held, P being paid for, S sold.
-- EPOCH has the epoch of the hold that last took it, 7 bytes a seat.
-- HOLDS: id to 'owner epoch began until paying seats', paying = '-' or since when.
-- LOG: one entry for the seats that an operation changed, 'SEATSTATUS,…', under
-- the version of the last of them. UNDONE: ids by the end of their ban.

local FLOOR, STATUS, EPOCH, HOLDS, DEADLINES, OWNERS, EPOCHS, PAYING, LOG, UNDONE = unpack(KEYS)
local call = redis.call
local WIDTH = 7
-- Holds that one call lets go at most; what a caller must not see longer than
-- that it asks for again.
local BATCH = 100
-- Entries that are kept, and changes that one answer has, at most.
local KEPT, MOST = 4096, 8192
local now = tonumber(ARGV[1])

local floor = call('HMGET', FLOOR, 'epoch', 'version', 'seats')
local is_loaded = floor[1]
local last, version, seats_there = tonumber(floor[1]), tonumber(floor[2]), tonumber(floor[3])

-- Concatenation alone would write large numbers as 1e+15.
local function text(number) return string.format('%d', number) end

-- Each change has a version of its own.
local function announce(changes)
  if #changes == 0 then return end
  version = call('HINCRBY', FLOOR, 'version', #changes)
  call('XADD', LOG, 'MAXLEN', '~', KEPT, text(version) .. '-0', 'c', table.concat(changes, ','))
end

local function read(id)
  local kept = call('HGET', HOLDS, id)
  if not kept then return nil end
  local owner, epoch, began, ends, paying, seats = kept:match('^(%S+) (%d+) (%d+) (%d+) (%S+) (%S+)$')
  return { id = id, owner = owner, epoch = epoch, began = began, ends = ends, paying = paying, seats = seats }
end

local function told(hold)
  return table.concat({ hold.owner, hold.epoch, hold.began, hold.ends, hold.paying, hold.seats }, ' ')
end

local function write(hold) call('HSET', HOLDS, hold.id, told(hold)) end

local function status_of(seat) return call('GETRANGE', STATUS, seat, seat) end

local function epoch_of(seat)
  return struct.unpack('>I7', call('GETRANGE', EPOCH, seat * WIDTH, seat * WIDTH + WIDTH - 1))
end

local function mark(seats, status, epoch)
  local packed = struct.pack('>I7', tonumber(epoch))
  for seat in seats:gmatch('%d+') do
    call('SETRANGE', STATUS, seat, status)
    call('SETRANGE', EPOCH, seat * WIDTH, packed)
  end
end

-- As everybody sees it: being paid for looks held.
local SEEN = { F = 'F', H = 'H', P = 'H', S = 'S' }

-- Moves seats that no newer hold has taken.
local function set(seats, epoch, status)
  local changed = {}
  for seat in seats:gmatch('%d+') do
    local before = status_of(seat)
    local ours = before == 'F' or before == '' or epoch_of(seat) <= tonumber(epoch)
    -- Who tells late that it is being paid for is told by the sale itself.
    local late = before == 'S' and status == 'P' and epoch_of(seat) == tonumber(epoch)
    if tonumber(seat) < seats_there and ours and not late then
      if SEEN[before] ~= SEEN[status] then changed[#changed + 1] = seat .. SEEN[status] end
      mark(seat, status, epoch)
    end
  end
  announce(changed)
end

local function owned(owner) return call('HGET', OWNERS, owner) or '' end

-- Forgets a hold and moves its seats.
local function finish(hold, status)
  call('HDEL', HOLDS, hold.id)
  call('HDEL', EPOCHS, hold.epoch)
  call('ZREM', DEADLINES, hold.id)
  call('SREM', PAYING, hold.id)
  local left = owned(hold.owner):gsub(hold.id .. ':%d+ ', '')
  if left == '' then call('HDEL', OWNERS, hold.owner) else call('HSET', OWNERS, hold.owner, left) end
  set(hold.seats, hold.epoch, status)
end

-- Lets go holds whose deadline has come, the oldest first; ids and what they
-- were. A full batch may not be all.
local function expire()
  call('ZREMRANGEBYSCORE', UNDONE, '-inf', now)
  local over = {}
  for _, id in ipairs(call('ZRANGEBYSCORE', DEADLINES, '-inf', now, 'LIMIT', 0, BATCH)) do
    local hold = read(id)
    finish(hold, 'F')
    over[#over + 1], over[#over + 2] = id, told(hold)
  end
  return over, #over == 2 * BATCH
end

-- The hold of this id; one past its deadline ends here.
local function live(id)
  local hold = read(id)
  if hold and hold.paying == '-' and tonumber(hold.ends) <= now then
    finish(hold, 'F')
    return nil
  end
  return hold
end

-- Whether the seat can be held; a hold on it that is past its deadline ends here.
local function is_free(seat)
  local status = status_of(seat)
  if status ~= 'H' then return status == 'F' end
  local id = call('HGET', EPOCHS, text(epoch_of(seat)))
  return id and not live(id)
end

-- A live hold of its owner.
local function find(id, owner)
  local hold = live(id)
  return hold and hold.owner == owner and hold or nil
end
