-- ARGV: time, id, owner, until, cap, seats. Answers the hold, the seats that are
-- taken, or 'cap'.

if not is_loaded then return false end
expire()
local id, owner, ends, cap, seats = unpack(ARGV, 2)
local taken, wanted = {}, 0
for seat in seats:gmatch('%d+') do
  wanted = wanted + 1
  if not is_free(seat) then taken[#taken + 1] = seat end
end
if #taken > 0 then return { 'taken', table.concat(taken, ',') } end
local kept, mine = wanted, owned(owner)
for n in mine:gmatch(':(%d+) ') do kept = kept + tonumber(n) end
if kept > tonumber(cap) then return { 'cap' } end
local epoch = text(call('HINCRBY', FLOOR, 'epoch', 1))
local hold = { id = id, owner = owner, epoch = epoch, began = text(now), ends = ends, paying = '-', seats = seats }
write(hold)
call('HSET', EPOCHS, epoch, id)
call('HSET', OWNERS, owner, mine .. id .. ':' .. wanted .. ' ')
call('ZADD', DEADLINES, ends, id)
mark(seats, 'H', epoch)
raise_version(1)
return { 'held', told(hold) }
