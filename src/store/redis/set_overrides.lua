-- ARGV: '', then the changes as fields and values.

if not room.epoch then return false end
local changes = {}
for i = 2, #ARGV, 2 do changes['set:' .. ARGV[i]] = ARGV[i + 1] end
if (tonumber(changes['set:revision']) or 0) < count('set:revision') then return 0 end
for field in pairs(room) do
  if field:sub(1, 4) == 'set:' then call('HDEL', ROOM, field) end
end
for field, value in pairs(changes) do call('HSET', ROOM, field, value) end
return 1
