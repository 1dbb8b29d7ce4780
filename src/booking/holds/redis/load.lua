-- ARGV: time, epoch to start after, seats, STATUS, EPOCH. Of an event that is known
-- only what it has more than is known.

if is_loaded then
  local count, changed = tonumber(ARGV[3]), {}
  if count > seats_there then
    call('APPEND', STATUS, ARGV[4]:sub(seats_there + 1))
    call('APPEND', EPOCH, ARGV[5]:sub(seats_there * WIDTH + 1))
    call('HSET', FLOOR, 'seats', count)
    for seat = seats_there, count - 1 do
      changed[#changed + 1] = seat .. SEEN[ARGV[4]:sub(seat + 1, seat + 1)]
    end
    announce(changed)
  end
  return 0
end
call('SET', STATUS, ARGV[4])
call('SET', EPOCH, ARGV[5])
call('HSET', FLOOR, 'epoch', ARGV[2], 'version', ARGV[2], 'seats', ARGV[3])
return 1
