-- ARGV: time, epoch, then how far the line had come as its caller knows (next
-- number, last log entry, passes claimed, recoveries, ms to come back in, then the
-- draw's number and secret and entries; each '' = unknown), then the settings as
-- fields and values.

local fields = {}
for i = 10, #ARGV, 2 do
  local field, value = 'base:' .. ARGV[i], ARGV[i + 1]
  fields[#fields + 1], fields[#fields + 2] = field, value
  room[field] = value
end
if not room.epoch then
  -- In one command with the rest: a room is never there by half.
  room.epoch, room.next = ARGV[2], 1
  for _, value in ipairs({ 'epoch', room.epoch, 'next', room.next }) do fields[#fields + 1] = value end
end
call('HSET', ROOM, unpack(fields))
now = clock()

local function recall(epoch, next, log_seq, claimed, recoveries, window, frozen, lot)
  local unborn = count('next') == 1 and count('log_seq') == 0 and not room.former
  if epoch ~= room.epoch and not unborn then return end
  local behind = next > count('next') or log_seq > count('log_seq') or claimed > count('claimed')
    or lot ~= '' and not room.drawn
  if epoch == room.epoch and not behind then return end
  if epoch ~= room.epoch then
    put('epoch', epoch)
    call('HDEL', ROOM, 'frozen', 'drawn')
    room.frozen, room.drawn = nil, nil
  end
  if lot ~= '' and not room.drawn then
    call('SET', ENTRIES, lot)
    put('frozen', frozen)
    put('drawn', 1)
  end
  if next > count('next') then put('next', text(next)) end
  if log_seq > count('log_seq') then
    -- What is between is gone.
    call('UNLINK', LOG)
    put('log_seq', text(log_seq))
  end
  if claimed > count('claimed') then put('claimed', text(claimed)) end
  put('recoveries', math.max(count('recoveries'), recoveries) + 1)
  put('recovering_until', math.max(count('recovering_until'), now + window))
end

if ARGV[3] ~= '' then
  recall(ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]),
    tonumber(ARGV[7]), ARGV[8], ARGV[9])
end
return report(0)
