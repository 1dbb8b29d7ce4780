-- ARGV: '', then the changes as fields and values.

if not room.epoch then return false end
for field in pairs(room) do
  if field:sub(1, 4) == 'set:' then call('HDEL', ROOM, field) end
end
for i = 2, #ARGV, 2 do call('HSET', ROOM, 'set:' .. ARGV[i], ARGV[i + 1]) end
return 1
