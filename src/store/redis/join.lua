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

local function may_overflow()
  return overflows and call('ZCARD', WAITING) == 0 and call('ZCARD', RETURNING) == 0 and space() > 0
end

local function take_number()
  local number = count('next')
  add('next', 1)
  joined = joined + 1
  return number
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

local function enter(visitor)
  if takes_nobody_new then return { 'U' } end
  freeze(now)
  if is_closed then return { 'C' } end
  if may_overflow() then return straight_in(visitor) end
  if most and call('ZCARD', WAITING) >= most then return { 'F' } end
  return wait(visitor, take_number(), now)
end

local turns = {}
for i = 7, #ARGV, 2 do
  local turn = arrive(ARGV[i])
  if turn[1] == 'U' or turn[1] == 'E' and ARGV[i + 1] == 'r' then turn = enter(ARGV[i]) end
  turns[#turns + 1] = turn
end
if joined > 0 then add('joined', joined) end
keep_joined()
keep_signs()
return turns
