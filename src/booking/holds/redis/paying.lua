-- ARGV: ''. Answers ids and holds whose clock is stopped.

local all = {}
for _, id in ipairs(is_loaded and call('SMEMBERS', PAYING) or {}) do
  all[#all + 1], all[#all + 2] = id, told(read(id))
end
return all
