-- ARGV: time, then for 512 numbers their index, a time at which some of them were
-- heard, the last of a slice, and a bit each; at most CHUNK of these.

if not room.epoch then return false end
now = clock()
for i = 2, #ARGV, 3 do hear(tonumber(ARGV[i]), math.min(tonumber(ARGV[i + 1]), now), ARGV[i + 2]) end
keep_signs()
return 1
