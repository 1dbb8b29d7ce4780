-- ARGV: time, then a number and the time of its last sign of life each; at most CHUNK.

if not room.epoch then return false end
now = clock()
local signs = {}
for i = 2, #ARGV, 2 do
  signs[#signs + 1] = math.min(tonumber(ARGV[i + 1]), now)
  signs[#signs + 1] = sign(ARGV[i])
end
if #signs > 0 then call('ZADD', SEEN, 'XX', 'GT', unpack(signs)) end
return 1
