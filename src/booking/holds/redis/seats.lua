-- ARGV: time. Answers the version and STATUS, or 'more' while holds past their
-- deadline are left.

if not is_loaded then return false end
local _, more = expire()
if more then return { 'more' } end
return { text(version), call('GET', STATUS) }
