-- How many may come in now. RECENT lists 'at n' of each admission, oldest first;
-- the field last_minute is their sum.

local MINUTE = 60000

local function admission(index)
  local kept = call('LINDEX', RECENT, index)
  if not kept then return nil end
  local at, n = kept:match('^(%d+) (%d+)$')
  return tonumber(at), tonumber(n)
end

local function last_minute()
  local newest = admission(-1)
  if not newest then return 0 end
  if newest + MINUTE <= now then
    call('UNLINK', RECENT)
    put('last_minute', 0)
    return 0
  end
  local at, n = admission(0)
  while at + MINUTE <= now do
    add('last_minute', -n)
    call('LPOP', RECENT)
    at, n = admission(0)
  end
  return count('last_minute')
end

local function note_admitted(n)
  call('RPUSH', RECENT, text(now) .. ' ' .. text(n))
  add('last_minute', n)
  add('admitted', n)
end

local function space()
  local inside = call('ZCARD', CALLED) + call('ZCARD', PASSES)
  local free = math.max(0, capacity() - inside)
  local rate = limit('rate_per_minute')
  local left = rate and math.max(0, rate - last_minute()) or free
  return math.min(limit('batch'), free, left)
end
