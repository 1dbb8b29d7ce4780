-- ARGV: ''. Answers the last epoch and version, STATUS, EPOCH, and the ids of the
-- holds by their epochs.

if not is_loaded then return false end
local seats = { call('GET', STATUS), call('GET', EPOCH) }
return { floor[1], floor[2], seats[1], seats[2], call('HGETALL', EPOCHS) }
