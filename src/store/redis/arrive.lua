-- A known visitor shows up. A turn is one of
--   U · W number joined_at · R number ahead · A number issued_at expires_at
--   E number reason · F (full) · C (closed)

-- Puts a visitor into the line who was unknown or out; `at` is when it took its number.
local function wait(visitor, number, at)
  note_joined(number, at)
  hear_now(number)
  call('ZADD', WAITING, number, visitor)
  if call('HDEL', PLACES, visitor) == 1 then call('ZREM', ENDED, visitor) end
  return { 'W', number, at }
end

local function returner(number)
  return { 'R', number, call('ZCOUNT', RETURNING, '-inf', '(' .. text(number)) }
end

local function come_back(visitor, number)
  call('ZADD', RETURNING, number, visitor)
  call('HSET', PLACES, visitor, place('R', text(number), '-'))
  call('ZREM', ENDED, visitor)
  return returner(number)
end

local function arrive_ended(visitor, number, note)
  local reason, again = note:sub(1, 1), note:sub(2)
  local at = tonumber(call('ZSCORE', ENDED, visitor))
  if reason == 'm' and again == '0' and now < at + limit('grace_ms') then
    return come_back(visitor, number)
  end
  if now >= at + REMEMBERED then return { 'U' } end
  return { 'E', number, reason }
end

local function arrive_called(visitor, number, note)
  local deadline = call('ZSCORE', CALLED, visitor) + moved()
  if now < deadline then
    local turn = let_in(visitor, number)
    call('ZREM', CALLED, visitor)
    return turn
  end
  -- Late: the sweep may not have run yet, which changes nothing for the visitor.
  run_out(CALLED, { visitor }, { deadline })
  return arrive_ended(visitor, number, 'm' .. note)
end

local function arrive_inside(visitor, number, issued)
  local ends = tonumber(call('ZSCORE', PASSES, visitor))
  if now < ends then return { 'A', number, tonumber(issued), ends } end
  run_out(PASSES, { visitor }, { ends })
  return { 'E', number, 'p' }
end

-- Its turn, and whether nothing at all is known of it.
local function arrive(visitor)
  local kind, number, note = find(visitor)
  if kind == 'W' then
    hear_now(number)
    return { 'W', number, joined_at(number) }
  end
  if kind == 'R' then return returner(number) end
  if kind == 'C' then return arrive_called(visitor, number, note) end
  if kind == 'I' then return arrive_inside(visitor, number, note) end
  if kind == 'E' then return arrive_ended(visitor, number, note) end
  return { 'U' }, true
end
