-- ARGV: time, version. Answers the version now and the changes after that one; the
-- version alone when they are not known; 'more' while holds past their deadline
-- are left.

if not is_loaded then return false end
local _, more = expire()
if more then return { 'more' } end
local since = tonumber(ARGV[2])
if since == version then return { text(version), '' } end
if since > version or version - since > MOST then return { text(version) } end
local parts = {}
for i, entry in ipairs(call('XRANGE', LOG, '(' .. ARGV[2] .. '-0', '+')) do parts[i] = entry[2][2] end
local all = table.concat(parts, ',')
-- One for each version, or some were dropped.
local _, count = all:gsub('%a', '')
if count ~= version - since then return { text(version) } end
return { text(version), all }
