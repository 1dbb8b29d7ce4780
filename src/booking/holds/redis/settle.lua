-- ARGV: '', epoch, status (S, P or F), seats. What the database says of them.

if not is_loaded then return false end
local epoch, status, seats = ARGV[2], ARGV[3], ARGV[4]
local known = call('HGET', EPOCHS, epoch)
-- One that has other seats is another's: a store that lost its end gave its epoch again.
if known then
  local its = ',' .. read(known).seats .. ','
  for seat in seats:gmatch('%d+') do
    if known and not its:find(',' .. seat .. ',', 1, true) then known = nil end
  end
end
if known and status == 'P' then return 0 end
-- An older hold in the way, which a store that lost its end may have, ends.
for seat in seats:gmatch('%d+') do
  local there = status_of(seat)
  local of = (there == 'H' or there == 'P') and epoch_of(seat)
  local id = of and of <= tonumber(epoch) and call('HGET', EPOCHS, text(of))
  if id and id ~= known then finish(read(id), 'F') end
end
set(seats, epoch, status)
if known then finish(read(known), status) end
return 1
