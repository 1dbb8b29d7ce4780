-- ARGV: '', id. Lets the hold's clock run again.

local hold = is_loaded and read(ARGV[2])
if not hold or hold.paying == '-' then return 0 end
hold.paying = '-'
call('ZADD', DEADLINES, hold.ends, hold.id)
call('SREM', PAYING, hold.id)
mark(hold.seats, 'H', hold.epoch)
write(hold)
return 1
