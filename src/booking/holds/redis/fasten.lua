-- ARGV: time, id, owner. Stops the hold's clock. Answers it, or an empty list.

if not is_loaded then return {} end
local hold = find(ARGV[2], ARGV[3])
if not hold then return {} end
if hold.paying == '-' then hold.paying = text(now) end
call('ZREM', DEADLINES, hold.id)
call('SADD', PAYING, hold.id)
mark(hold.seats, 'P', hold.epoch)
write(hold)
return { told(hold) }
