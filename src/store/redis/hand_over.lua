-- ARGV: time, the visitor who has the place, its number, the visitor to have it.
-- Answers the turn of the latter, or an empty list when the place is not the former's.

if not room.epoch then return false end
now = clock()
local from, number, to = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local numbers = text(number)
local told = numbers .. ':' .. to

local rebind = {}

-- Only as long as it is in the line is the number kept as handed over.
local function note_handed()
  call('ZREMRANGEBYSCORE', HANDED, number, number)
  call('ZADD', HANDED, number, told)
end

local function prune()
  local first = call('ZRANGE', HANDED, 0, PRUNE - 1, 'WITHSCORES')
  for i = 1, #first, 2 do
    local at = call('ZSCORE', WAITING, first[i]:match(':(.+)$'))
    if not at or tonumber(at) ~= tonumber(first[i + 1]) then call('ZREM', HANDED, first[i]) end
  end
end

function rebind.W()
  call('ZADD', WAITING, number, to)
  note_handed()
  return WAITING, {}
end

function rebind.R()
  call('ZADD', RETURNING, number, to)
  call('HSET', PLACES, to, place('R', numbers, '-'))
  return RETURNING, {}
end

function rebind.C(note)
  call('ZADD', CALLED, call('ZSCORE', CALLED, from), to)
  call('HSET', PLACES, to, place('C', numbers, note))
  call('HSET', HOLDERS, number, to)
  return CALLED, {}
end

function rebind.I(note)
  local ends = call('ZSCORE', PASSES, from)
  call('ZADD', PASSES, ends, to)
  call('HSET', PLACES, to, place('I', numbers, text(note + 1)))
  call('HSET', HOLDERS, number, to)
  call('HDEL', BOUND, number)
  call('ZADD', REVOKED, ends, numbers .. ' ' .. note)
  return PASSES, { numbers .. ':' .. note .. ':' .. text(ends) }
end

local kind, had, note = find(to)
if kind then
  local turn = kind ~= 'E' and had == number and arrive(to) or {}
  keep_signs()
  return turn
end
kind, had, note = find(from)
if had ~= number then return {} end
if not (kind == 'C' and now < call('ZSCORE', CALLED, from) + moved()) then
  arrive(from)
  kind, had, note = find(from)
end
if kind == 'E' or not kind then
  keep_signs()
  return {}
end

local set, revoked = rebind[kind](note)
finish({ from }, { numbers }, 'd', { now }, { '1' })
append({}, revoked, told)
call('ZREM', set, from)
if not is_coming_back(now) then prune() end
local turn = arrive(to)
keep_signs()
return turn
