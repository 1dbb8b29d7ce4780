-- ARGV: time, ms between two generations, then visitor, issue time and generation each.
-- Answers newest, shown_at, before, next (0 = none) and due_at each; an empty list for
-- who has no such pass.

if not room.epoch then return false end
now = clock()

local function show(number, issued_at, generation)
  local pass = bound(number, issued_at) or fresh(generation)
  note(pass, generation)
  local is_due = generation == pass.newest and now >= pass.made_at + EVERY
  local next = is_due and make(pass, 0) or 0
  keep(number, issued_at, pass)
  return { pass.newest, pass.shown_at, pass.before, next, pass.made_at + EVERY }
end

local heard = {}
for i = 3, #ARGV, 3 do
  local number, issued_at = live_pass(ARGV[i])
  local is_it = number and issued_at == ARGV[i + 1]
  heard[#heard + 1] = is_it and show(number, issued_at, tonumber(ARGV[i + 2])) or {}
end
return heard
