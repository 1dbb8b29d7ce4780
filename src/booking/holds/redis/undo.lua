-- ARGV: '', id, until. Ends a hold that may or may not have been given, unless it
-- is being paid for, and gives none under this id until then.

if not is_loaded then return false end
local hold = read(ARGV[2])
if hold and hold.paying == '-' then finish(hold, 'F') end
call('ZADD', UNDONE, ARGV[3], ARGV[2])
return 1
