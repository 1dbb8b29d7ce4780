-- ARGV: '', epoch to start after. Begins a new generation of an event that was
-- found behind what it had told.

if not is_loaded then return false end
local start = tonumber(ARGV[2])
if last < start then
  call('HSET', FLOOR, 'epoch', ARGV[2], 'version', text(math.max(version, start)))
  call('DEL', LOG)
end
return 1
