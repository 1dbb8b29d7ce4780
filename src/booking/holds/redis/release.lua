-- ARGV: time, id, owner. Answers what was let go, or an empty list.

if not is_loaded then return {} end
local hold = find(ARGV[2], ARGV[3])
if not hold or hold.paying ~= '-' then return {} end
finish(hold, 'F')
return { told(hold) }
