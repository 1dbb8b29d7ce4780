-- ARGV: time, epoch, then the settings as fields and values.

local fields = {}
for i = 3, #ARGV, 2 do
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
return report(0)
