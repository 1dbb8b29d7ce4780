-- The generations of passes; see domain::binding. ARGV[2] is ms between two.
-- BOUND has, by number: issued_at issued made_at for_claim newest shown_at before strike…

local EVERY = tonumber(ARGV[2])
local GRACE, WINDOW = math.floor(EVERY / 6), EVERY * 10

-- Number and issue time of a visitor's live pass, as text.
local function live_pass(visitor)
  local kind, number, note = find(visitor)
  if kind == 'I' and now < tonumber(call('ZSCORE', PASSES, visitor)) then return text(number), note end
end

-- Of a pass of which this is the first generation that is heard of.
local function fresh(generation)
  return {
    issued = generation, made_at = now, for_claim = 0,
    newest = generation, shown_at = now, before = 0, strikes = {},
  }
end

-- What is known of this very pass.
local function bound(number, issued_at)
  local kept = {}
  for part in (call('HGET', BOUND, number) or ''):gmatch('%d+') do kept[#kept + 1] = tonumber(part) end
  if kept[1] ~= tonumber(issued_at) then return nil end
  return {
    issued = kept[2], made_at = kept[3], for_claim = kept[4],
    newest = kept[5], shown_at = kept[6], before = kept[7], strikes = { unpack(kept, 8) },
  }
end

local function keep(number, issued_at, pass)
  local kept = { pass.issued, pass.made_at, pass.for_claim, pass.newest, pass.shown_at, pass.before }
  for _, at in ipairs(pass.strikes) do kept[#kept + 1] = at end
  for i, part in ipairs(kept) do kept[i] = text(part) end
  call('HSET', BOUND, number, issued_at .. ' ' .. table.concat(kept, ' '))
end

local function note(pass, generation)
  pass.issued = math.max(pass.issued, generation)
  if generation > pass.newest then
    pass.newest, pass.shown_at, pass.before = generation, now, pass.newest
  end
end

local function is_old(pass, generation)
  local under_way = generation >= pass.before and now < pass.shown_at + GRACE
  return generation < pass.newest and not under_way
end

local function make(pass, for_claim)
  pass.issued, pass.made_at, pass.for_claim = pass.issued + 1, now, for_claim
  return pass.issued
end
