-- Polls of a crowd in turn, each connection with a pause after each. Arguments:
-- path, host, what the visitors' names begin with, how many, pause in ms.

local path, host, prefix, size, pause
local turn = 0

function init(args)
  path, host, prefix, size, pause = args[1], args[2], args[3], tonumber(args[4]), tonumber(args[5])
end

function delay() return pause end

function request()
  turn = turn % size + 1
  return wrk.format("GET", path, { Host = host, ["Bench-Visitor"] = prefix .. string.format("%09d", turn) })
end
