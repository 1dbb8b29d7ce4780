-- ARGV: time, epoch to start after, seats, STATUS, EPOCH. Nothing when it is known.

if is_loaded then return 0 end
call('SET', STATUS, ARGV[4])
call('SET', EPOCH, ARGV[5])
call('HSET', FLOOR, 'epoch', ARGV[2], 'version', ARGV[2], 'seats', ARGV[3])
return 1
