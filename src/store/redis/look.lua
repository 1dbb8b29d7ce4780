-- ARGV: time, then visitors.

if not room.epoch then return false end
now = clock()
local turns = {}
for i = 2, #ARGV do turns[#turns + 1] = arrive(ARGV[i]) end
keep_signs()
return turns
