-- ARGV: time. Lets go a batch of what is over; answers ids and holds, and last
-- whether more may be left.

if not is_loaded then return { '' } end
local over, more = expire()
over[#over + 1] = more and 'more' or ''
return over
