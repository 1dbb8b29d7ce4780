-- The line as gates see it, what operators changed, and the epochs of lines before
-- it: two flat lists and a text.

local function report(admitted)
  local due_at = room.last_tick_at and count('last_tick_at') + limit('tick_ms') or now
  local standing = {
    room.epoch, text(count('skew_ms')), now, count('tick'), due_at, count('next'), count('log_seq'),
    call('ZCARD', WAITING), call('ZCARD', RETURNING), call('ZCARD', CALLED), call('ZCARD', PASSES),
    admitted, count('holiday_until'), count('recovering_until'), count('recoveries'),
    is_tuned() and count('tuned') or 0, count('frozen'), room.drawn and 1 or 0,
    count('joined'), count('admitted'), count('claimed'), count('evicted'), count('expired'), count('left'),
  }
  local changes = {}
  for field, value in pairs(room) do
    if field:sub(1, 4) == 'set:' then
      changes[#changes + 1] = field:sub(5)
      changes[#changes + 1] = value
    end
  end
  return { standing, changes, room.former or '' }
end
