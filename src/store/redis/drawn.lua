-- ARGV: ''. Answers the number at which the line was frozen, and secret and entries;
-- nothing before the draw.

if not room.epoch then return false end
if not room.drawn then return {} end
return { room.frozen, call('GET', ENTRIES) }
