-- Newcomers without end, each with a session header of its own. Arguments:
-- path, host, and what the names of this run begin with.

local path, host, prefix
local count = 0

function init(args)
  path, host, prefix = args[1], args[2], args[3]
end

function request()
  count = count + 1
  return wrk.format("POST", path, { Host = host, ["Bench-Visitor"] = prefix .. string.format("%09d", count) })
end
