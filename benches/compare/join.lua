-- Newcomers without end, each with a session header of its own. Arguments:
-- path, host, and what the names of this run begin with.

local head
local count = 0

function init(args)
  local path, host, prefix = args[1], args[2], args[3]
  -- Made once: what the generator takes of the machine is missing elsewhere.
  head = string.format("POST %s HTTP/1.1\r\nHost: %s\r\nBench-Visitor: %s", path, host, prefix)
end

function request()
  count = count + 1
  return head .. string.format("%09d\r\n\r\n", count)
end
