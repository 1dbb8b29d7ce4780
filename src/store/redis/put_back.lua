-- ARGV: time, then what a gate remembers; see PutBack:
--   'out', below, from, bits · 'drop', numbers · 'passes', visitor number issued ends each
--   'revoked', number issued ends each · 'handed', number visitor each

if not room.epoch then return false end
now = clock()
if not is_coming_back(now) then return 0 end

local act = {}

-- Where the visitors of each kind are.
local SETS = { W = WAITING, R = RETURNING, C = CALLED, I = PASSES, E = ENDED }

function act.out(below, from, bits)
  below = tonumber(below)
  if below > count('out_below') then put('out_below', text(below)) end
  local at = from / 8
  local kept = call('GETRANGE', OUT, at, at + #bits - 1)
  if kept:find('[^%z]') then
    local both = {}
    for i = 1, #bits do both[i] = string.char(bit.bor(bits:byte(i), kept:byte(i) or 0)) end
    bits = table.concat(both)
  end
  if #bits > 0 then call('SETRANGE', OUT, at, bits) end
end

function act.drop(...)
  for _, number in ipairs({ ... }) do call('ZREMRANGEBYSCORE', WAITING, number, number) end
end

-- Whether a number is nobody's but this visitor's.
local function is_own(number, visitor)
  local holder = call('HGET', HOLDERS, number)
  if holder and holder ~= visitor then return false end
  for _, set in ipairs({ WAITING, RETURNING }) do
    local member = call('ZRANGEBYSCORE', set, number, number)[1]
    if member and member ~= visitor then return false end
  end
  return true
end

local function let_back(visitor, number, issued, ends)
  if now >= tonumber(ends) or call('ZSCORE', REVOKED, number .. ' ' .. issued) then return end
  local kind, had, note = find(visitor)
  -- It was claimed after this copy was made, or prolonged before the copy ended it.
  local free = not kind or had == tonumber(number)
  if kind == 'I' then
    -- The same, prolonged since.
    free = free and note == issued and tonumber(call('ZSCORE', PASSES, visitor) or 0) < tonumber(ends)
  end
  if not free or not is_own(number, visitor) then return end
  if tonumber(number) >= count('next') then put('next', text(number + 1)) end
  call('ZADD', PASSES, ends, visitor)
  call('HSET', PLACES, visitor, place('I', number, issued))
  call('HSET', HOLDERS, number, visitor)
  if kind and kind ~= 'I' then call('ZREM', SETS[kind], visitor) end
end

function act.passes(...)
  local passes = { ... }
  for i = 1, #passes, 4 do let_back(passes[i], passes[i + 1], passes[i + 2], passes[i + 3]) end
end

-- A copy from before has a pass that was given back, or taken; or it has the visitor
-- on the way to that pass, which would give it another. Those not known yet as such
-- go to `news`.
local function revoke_again(number, issued, ends, news)
  if now >= tonumber(ends) then return end
  local is_new = call('ZADD', REVOKED, ends, number .. ' ' .. issued) == 1
  if is_new then news[#news + 1] = number .. ':' .. issued .. ':' .. ends end
  local visitor = call('HGET', HOLDERS, number)
    or call('ZRANGEBYSCORE', RETURNING, number, number)[1]
    or call('ZRANGEBYSCORE', WAITING, number, number)[1]
  if not visitor then return end
  local kind, had, note = find(visitor)
  if had ~= tonumber(number) or kind == 'E' or kind == 'I' and note ~= issued then return end
  finish({ visitor }, { number }, 'c', { now }, { '0' })
  call('HDEL', HOLDERS, number)
  call('HDEL', BOUND, number)
  call('ZREM', SETS[kind], visitor)
end

function act.revoked(...)
  local passes = { ... }
  local news = {}
  for i = 1, #passes, 3 do revoke_again(passes[i], passes[i + 1], passes[i + 2], news) end
  append({}, news)
end

function act.handed(...)
  local handed = { ... }
  for i = 1, #handed, 2 do
    local number, to = handed[i], handed[i + 1]
    local holder = call('ZRANGEBYSCORE', WAITING, number, number)[1]
    if holder and holder ~= to then call('ZREM', WAITING, holder) end
    call('ZREMRANGEBYSCORE', HANDED, number, number)
    call('ZADD', HANDED, number, number .. ':' .. to)
  end
end

act[ARGV[2]](unpack(ARGV, 3))
return 1
