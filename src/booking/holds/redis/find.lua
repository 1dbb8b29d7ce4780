-- ARGV: time, id, owner. Answers the hold, or an empty list.

if not is_loaded then return {} end
local hold = find(ARGV[2], ARGV[3])
return hold and { told(hold) } or {}
