-- ARGV: '', number. Answers the visitor, or '' when nobody holds it.

if not room.epoch then return false end
local number = ARGV[2]
return call('ZRANGEBYSCORE', WAITING, number, number)[1]
  or call('ZRANGEBYSCORE', RETURNING, number, number)[1]
  or call('HGET', HOLDERS, number)
  or ''
