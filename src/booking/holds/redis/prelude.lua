-- What every operation shares; the rules are those of Floor, the model.
-- ARGV[1] is the time.
--
-- STATUS has a byte a seat: F free, H held, P being paid for, S sold.
-- EPOCH has the epoch of the hold that last took it, 7 bytes a seat.
-- HOLDS: id to 'owner epoch began until paying seats', paying = '-' or since when.

local FLOOR, STATUS, EPOCH, HOLDS, DEADLINES, OWNERS, EPOCHS, PAYING = unpack(KEYS)
local call = redis.call
local WIDTH = 7
local now = tonumber(ARGV[1])

local floor = call('HMGET', FLOOR, 'epoch', 'version', 'seats')
local is_loaded = floor[1]
local last, version, seats_there = tonumber(floor[1]), tonumber(floor[2]), tonumber(floor[3])

-- Concatenation alone would write large numbers as 1e+15.
local function text(number) return string.format('%d', number) end

local function raise_version(by)
  if by > 0 then version = call('HINCRBY', FLOOR, 'version', by) end
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

local function is_free(seat) return call('GETRANGE', STATUS, seat, seat) == 'F' end

local function mark(seats, status, epoch)
  for seat in seats:gmatch('%d+') do
    call('SETRANGE', STATUS, seat, status)
    call('SETRANGE', EPOCH, seat * WIDTH, struct.pack('>I7', tonumber(epoch)))
  end
end

-- As everybody sees it: being paid for looks held.
local SEEN = { F = 'F', H = 'H', P = 'H', S = 'S' }

-- Moves seats that no newer hold has taken.
local function set(seats, epoch, status)
  local changed = 0
  for seat in seats:gmatch('%d+') do
    local before = call('GETRANGE', STATUS, seat, seat)
    local of = before ~= 'F' and before ~= '' and call('GETRANGE', EPOCH, seat * WIDTH, seat * WIDTH + WIDTH - 1)
    local ours = not of or struct.unpack('>I7', of) <= tonumber(epoch)
    if tonumber(seat) < seats_there and ours then
      if SEEN[before] ~= SEEN[status] then changed = changed + 1 end
      mark(seat, status, epoch)
    end
  end
  raise_version(changed)
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

-- Lets go every hold whose deadline has come; ids and what they were.
local function expire()
  local over = {}
  for _, id in ipairs(call('ZRANGEBYSCORE', DEADLINES, '-inf', now)) do
    local hold = read(id)
    finish(hold, 'F')
    over[#over + 1], over[#over + 2] = id, told(hold)
  end
  return over
end

-- A live hold of its owner.
local function find(id, owner)
  if call('HEXISTS', HOLDS, id) == 0 then return nil end
  expire()
  local hold = read(id)
  return hold and hold.owner == owner and hold or nil
end
