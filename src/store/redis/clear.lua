-- ARGV: '', epoch, the epoch that the caller knew. Settings and changes stay.
-- UNLINK, for a long line: DEL of 300,000 members stops Redis for 115 ms.

if not room.epoch then return false end

-- Lines that were cleared, the last one first, each once.
local function former()
  local all, known = {}, { [ARGV[2]] = true }
  for epoch in (room.epoch .. ' ' .. ARGV[3] .. ' ' .. (room.former or '')):gmatch('%d+') do
    if not known[epoch] and #all < FORMER then all[#all + 1] = epoch end
    known[epoch] = true
  end
  return table.concat(all, ' ')
end

call('HSET', ROOM, 'epoch', ARGV[2], 'next', 1, 'former', former())
for field in pairs(room) do
  local stays = field:find(':') or field == 'epoch' or field == 'next' or field == 'former'
  if not stays then call('HDEL', ROOM, field) end
end
call('UNLINK', WAITING, HEARD, PAGES, JOINED, RETURNING, CALLED, PASSES, PLACES, HOLDERS, ENDED, RECENT, REVOKED, LOG,
  OUT, SEEN, HANDED, ENTRIES, BOUND)
return 1
