-- ARGV: '', sequence number, most entries. Answers [seq, out, revoked, handed] each, or 0
-- when some after that number are gone.

if not room.epoch then return false end
local seq, most = tonumber(ARGV[2]), tonumber(ARGV[3])
if seq > count('log_seq') then return 0 end
local kept = call('XRANGE', LOG, '(' .. text(seq) .. '-0', '+', 'COUNT', math.max(most, 1))
if seq < count('log_seq') and (not kept[1] or kept[1][1] ~= text(seq + 1) .. '-0') then return 0 end
local entries = {}
for i = 1, math.min(#kept, most) do
  local fields = kept[i][2]
  entries[i] = { seq + i, fields[2], fields[4], fields[6] or '' }
end
return entries
