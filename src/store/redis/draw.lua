-- ARGV: '', the number at which the line is frozen, secret and entries. The first
-- settles it; see Line::draw.

if not room.epoch then return false end
if room.drawn or room.frozen ~= ARGV[2] then return 0 end
call('SET', ENTRIES, ARGV[3])
put('drawn', 1)
return 1
