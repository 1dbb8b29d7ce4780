-- ARGV: time, then a visitor, the number it had and when that was taken each.

if not room.epoch then return false end
now = clock()

local function is_free(visitor, number)
  local to = call('ZRANGEBYSCORE', HANDED, number, number)[1]
  return (not to or to == text(number) .. ':' .. visitor) and number >= count('out_below') and call('GETBIT', OUT, number) == 0
    and call('HEXISTS', HOLDERS, number) == 0
    and call('ZCOUNT', WAITING, number, number) == 0
    and call('ZCOUNT', RETURNING, number, number) == 0
end

local function come_back(visitor, number, at)
  if not is_coming_back(now) or number == 0 or not is_free(visitor, number) then return { 'U' } end
  if number >= count('next') then put('next', text(number + 1)) end
  return wait(visitor, number, at)
end

local turns = {}
for i = 2, #ARGV, 3 do
  local turn = arrive(ARGV[i])
  if turn[1] == 'U' then turn = come_back(ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])) end
  turns[#turns + 1] = turn
end
keep_joined()
keep_signs()
return turns
