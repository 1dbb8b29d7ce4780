-- GETs of many visitors in turn. Arguments: path, host, and a file whose lines
-- are one visitor's Cookie header each.

local requests = {}
local turn = 0

function init(args)
  local path, host, cookies = args[1], args[2], args[3]
  for cookie in io.lines(cookies) do
    requests[#requests + 1] = wrk.format("GET", path, { Host = host, Cookie = cookie })
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
