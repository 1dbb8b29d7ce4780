-- ARGV: time, visitor, reason. Answers the number, or 0 when there was nothing to end.

if not room.epoch then return false end
now = clock()
local visitor, reason = ARGV[2], ARGV[3]
local kind, number, note = find(visitor)
if not kind or kind == 'E' then return 0 end

local ends = kind == 'I' and tonumber(call('ZSCORE', PASSES, visitor))
if ends and now >= ends then return 0 end

finish({ visitor }, { text(number) }, reason, { now }, { '0' })
if reason == 'l' then add('left', 1) end
if kind == 'W' then
  append({ text(number) }, {})
  call('ZREM', WAITING, visitor)
elseif kind == 'R' then
  call('ZREM', RETURNING, visitor)
else
  if kind == 'I' then
    call('ZADD', REVOKED, ends, text(number) .. ' ' .. note)
    append({}, { text(number) .. ':' .. note .. ':' .. text(ends) })
  end
  call('HDEL', HOLDERS, number)
  call('HDEL', BOUND, number)
  call('ZREM', kind == 'I' and PASSES or CALLED, visitor)
end
return number
