-- ARGV: time; when the caller knew the line, its epoch, its next number, the last entry
-- of its log, the passes claimed in it and whether the draw took place ('1'), else ''
-- five times; then a visitor and its intent ('j' join, 'r' rejoin) each.

if not room.epoch then return false end
now = clock()
-- The next number of a line that lost its end may have been given before, which another
-- gate may know; see Line::is_settled.
local function is_doubtful()
  return now < count('settled_at') or not is_as_known(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '1')
end
local takes_nobody_new = is_coming_back(now) or ARGV[2] ~= '' and is_doubtful()

local is_closed, overflows, most = takes_nobody(now), is_set('overflow') and not is_shut(now), limit('max_waiting')
local joined = 0

-- Who enters the line and was unknown: number and visitor each, and the numbers by
-- visitor. They are put there together: one command where each would take three.
local entering, entered = {}, {}

local function put_in()
  if #entering == 0 then return end
  -- The numbers first: a script that fails does not roll back, and none may be given twice.
  add('next', #entering / 2)
  call('ZADD', WAITING, unpack(entering))
  entering = {}
end

-- The next number of all, for somebody who is put there now.
local function take_number()
  put_in()
  local number = count('next')
  add('next', 1)
  joined = joined + 1
  return number
end

local function may_overflow()
  return overflows and #entering == 0 and call('ZCARD', WAITING) == 0 and call('ZCARD', RETURNING) == 0 and space() > 0
end

local function straight_in(visitor)
  local number = take_number()
  call('HSET', HOLDERS, number, visitor)
  local turn = let_in(visitor, number)
  note_admitted(1)
  append({ text(number) }, {})
  call('ZREM', ENDED, visitor)
  return turn
end

local function wait_with_others(visitor)
  local number = count('next') + #entering / 2
  joined = joined + 1
  note_joined(number, now)
  hear_now(number)
  entering[#entering + 1], entering[#entering + 2] = text(number), visitor
  entered[visitor] = { 'W', number, now }
  return entered[visitor]
end

local function enter(visitor, is_new)
  if takes_nobody_new then return { 'U' } end
  if joined == 0 then freeze(now) end
  if is_closed then return { 'C' } end
  if may_overflow() then return straight_in(visitor) end
  if most and call('ZCARD', WAITING) + #entering / 2 >= most then return { 'F' } end
  return is_new and wait_with_others(visitor) or wait(visitor, take_number(), now)
end

local function turn_of(visitor, intent)
  if entered[visitor] then return entered[visitor] end
  local turn, is_new = arrive(visitor)
  if turn[1] == 'U' or turn[1] == 'E' and intent == 'r' then return enter(visitor, is_new) end
  return turn
end

local turns = {}
for i = 7, #ARGV, 2 do turns[#turns + 1] = turn_of(ARGV[i], ARGV[i + 1]) end
put_in()
if joined > 0 then add('joined', joined) end
keep_joined()
keep_signs()
return turns
