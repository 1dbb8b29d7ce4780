-- The moves of a place. New state is written first and the old one removed last:
-- a script that fails does not roll back, and nobody may be lost by it.
--
-- PLACES tells of everybody outside the line what no sorted set tells, as
-- 'kind number note':
--   C n again            called; CALLED has the deadline less moved_ms
--   I n issued_at        inside; PASSES has the end
--   R n -                a late returner; RETURNING has the number, too
--   E n reason,again     out; ENDED has the instant
-- Who waits is in WAITING, HEARD and JOINED only: a million of them must fit.

local now

-- What is known of a visitor: kind, number, note.
local function find(visitor)
  local place = call('HGET', PLACES, visitor)
  if place then
    local kind, number, note = place:match('^(%a) (%d+) (.+)$')
    return kind, tonumber(number), note
  end
  local number = call('ZSCORE', WAITING, visitor)
  if number then return 'W', tonumber(number) end
end

-- `number` as text.
local function place(kind, number, note) return kind .. ' ' .. number .. ' ' .. note end

-- A number in a sorted set: of one width, so that ties are in the numbers' order.
local function sign(number) return string.format('%014d', number) end

-- Deadlines in CALLED are less this, so that an outage moves them all at once.
local function moved() return count('moved_ms') end

-- When waiting numbers were taken: 6 bytes each, a hundred numbers to a field.
local BLOCK, WIDTH = 100, 6

-- Those that this call read, and the fields of those that it changed.
local blocks, changed = {}, {}

local function block_of(number)
  local field = math.floor(number / BLOCK)
  blocks[field] = blocks[field] or call('HGET', JOINED, field) or ''
  return blocks[field], number % BLOCK * WIDTH, field
end

local function note_joined(number, at)
  local block, skip, field = block_of(number)
  local instant = struct.pack('>I6', at)
  if skip < #block then
    blocks[field] = block:sub(1, skip) .. instant .. block:sub(skip + WIDTH + 1)
  else
    blocks[field] = block .. string.rep('\0', skip - #block) .. instant
  end
  changed[field] = true
end

local function joined_at(number)
  local block, skip = block_of(number)
  return (struct.unpack('>I6', block, skip + 1))
end

-- Writes what was noted. Every operation that notes anything ends with it.
local function keep_joined()
  for field in pairs(changed) do call('HSET', JOINED, field, blocks[field]) end
  changed = {}
end

-- Tells the gates which numbers and passes went out, and which numbers are another's.
local function append(out, revoked, handed)
  if #out + #revoked == 0 and not handed then return end
  local id = text(add('log_seq', 1)) .. '-0'
  local entry = { 'out', table.concat(out, ' '), 'revoked', table.concat(revoked, ' ') }
  if handed then entry[5], entry[6] = 'handed', handed end
  call('XADD', LOG, 'MAXLEN', '=', LOG_KEPT, id, unpack(entry))
end

-- Gives a visitor a pass from now on.
local function let_in(visitor, number)
  local ends = now + limit('pass_ttl_ms')
  call('ZADD', PASSES, ends, visitor)
  call('HSET', PLACES, visitor, place('I', text(number), text(now)))
  add('claimed', 1)
  return { 'A', number, now, ends }
end

-- Notes why visitors are out; at most CHUNK. Where they were, they are still.
local function finish(visitors, numbers, reason, at, again)
  local ended, places = {}, {}
  for i, visitor in ipairs(visitors) do
    ended[2 * i - 1], ended[2 * i] = at[i], visitor
    places[2 * i - 1], places[2 * i] = visitor, place('E', numbers[i], reason .. again[i])
  end
  call('ZADD', ENDED, unpack(ended))
  call('HSET', PLACES, unpack(places))
end

-- The claim windows (set = CALLED) or the passes (set = PASSES) of these are over.
-- A member whose place is of another kind was left there by a failure: it only goes.
local function run_out(set, members, ends)
  local kind, reason = 'C', 'm'
  if set == PASSES then kind, reason = 'I', 'p' end
  local visitors, numbers, at, again = {}, {}, {}, {}
  for i, kept in ipairs(call('HMGET', PLACES, unpack(members))) do
    local found, number, note = (kept or ''):match('^(%a) (%d+) (.+)$')
    if found == kind then
      local n = #visitors + 1
      visitors[n], numbers[n], at[n], again[n] = members[i], number, ends[i], kind == 'C' and note or '0'
    end
  end
  if #visitors > 0 then
    finish(visitors, numbers, reason, at, again)
    add('expired', #visitors)
    call('HDEL', HOLDERS, unpack(numbers))
    call('HDEL', BOUND, unpack(numbers))
  end
  call('ZREM', set, unpack(members))
end
