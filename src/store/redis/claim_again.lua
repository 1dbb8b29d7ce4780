-- ARGV: time, ms between two generations, visitor, the generation it has or ''.
-- Answers 'G' and a generation, 'S' when several use the pass, or an empty list when
-- there is none.

if not room.epoch then return false end
now = clock()

local number, issued_at = live_pass(ARGV[3])
if not number then return {} end
local shown = tonumber(ARGV[4])
local pass = bound(number, issued_at)
if not pass then
  pass = fresh(shown or 0)
  if not shown then pass.issued, pass.for_claim = 1, 1 end
end

local function claim()
  local strikes = {}
  for _, at in ipairs(pass.strikes) do
    if now < at + WINDOW then strikes[#strikes + 1] = at end
  end
  pass.strikes = strikes
  if #strikes >= STRIKES then return { 'S' } end
  if shown and not is_old(pass, shown) then
    note(pass, shown)
    return { 'G', shown }
  end
  local just_now = pass.issued > pass.newest or now < pass.made_at + GRACE
  if pass.for_claim == 1 and just_now then return { 'G', pass.issued } end
  strikes[#strikes + 1] = now
  if #strikes >= STRIKES then return { 'S' } end
  return { 'G', make(pass, 1) }
end

local answer = claim()
keep(number, issued_at, pass)
return answer
