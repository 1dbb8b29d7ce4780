-- ARGV: time, id, owner, until, cap, seats. Answers the hold, the seats that are
-- taken, 'cap', or 'undone'. The same wish again gets the same hold.

if not is_loaded then return false end
local id, owner, ends, cap, seats = unpack(ARGV, 2)
local banned = call('ZSCORE', UNDONE, id)
if banned and tonumber(banned) > now then return { 'undone' } end
local same = live(id)
if same then
  if same.owner == owner and same.seats == seats then return { 'held', told(same) } end
  return { 'taken', seats }
end
local taken, wanted, changed = {}, 0, {}
for seat in seats:gmatch('%d+') do
  wanted = wanted + 1
  changed[wanted] = seat .. 'H'
  if not is_free(seat) then taken[#taken + 1] = seat end
end
if #taken > 0 then return { 'taken', table.concat(taken, ',') } end

local function kept(mine)
  local sum = wanted
  for n in mine:gmatch(':(%d+) ') do sum = sum + tonumber(n) end
  return sum
end

local mine = owned(owner)
if kept(mine) > tonumber(cap) then
  for of in mine:gmatch('(%x+):') do live(of) end
  mine = owned(owner)
  if kept(mine) > tonumber(cap) then return { 'cap' } end
end
local epoch = text(call('HINCRBY', FLOOR, 'epoch', 1))
local hold = { id = id, owner = owner, epoch = epoch, began = text(now), ends = ends, paying = '-', seats = seats }
write(hold)
call('HSET', EPOCHS, epoch, id)
call('HSET', OWNERS, owner, mine .. id .. ':' .. wanted .. ' ')
call('ZADD', DEADLINES, ends, id)
mark(seats, 'H', epoch)
announce(changed)
return { 'held', told(hold) }
