-- Buyers, one after the other on each connection: hold, order, pay, ask until it
-- is done. Run with as many threads as connections, so that a thread's state is
-- that of one buyer. Arguments: path of the event's holds, and a folder with a
-- file for each thread, NUMBER.buyers, whose lines are a token and the body of
-- the hold wished for. Leaves NUMBER.over there when all have had their turn; wrk
-- itself goes on until it is interrupted. Prints what came of them as JSON.

local ffi = require("ffi")
ffi.cdef "typedef struct { long sec, nsec; } instant; int clock_gettime(int, instant *);"

local threads = {}

local function seconds()
  local now = ffi.new("instant")
  ffi.C.clock_gettime(1, now)
  return tonumber(now.sec) + tonumber(now.nsec) / 1e9
end

function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

local ASK_AGAIN_MS = 5
local holds, folder, buyers, token, wish, step, path, body, wait

-- When the first buyer came and the last left, and what became of them; read by done().
began, ended = 0, 0
paid, refused, failed, asked, unexpected = 0, 0, 0, 0, ""

local function next_buyer()
  local line = buyers:read()
  if not line then
    step, ended = "over", seconds()
    io.open(folder .. "/" .. number .. ".over", "w"):close()
    return wrk.thread:stop()
  end
  token, wish = line:match("^(%S+) (.+)$")
  step, path, body = "hold", holds, wish
end

function init(args)
  holds, folder = args[1], args[2]
  buyers = assert(io.open(folder .. "/" .. number .. ".buyers"))
  began = seconds()
  next_buyer()
end

function delay()
  local ms = wait or 0
  wait = nil
  return ms
end

function request()
  local method = step == "ask" and "GET" or "POST"
  local headers = { Authorization = "Bearer " .. (token or ""), ["Content-Type"] = "application/json" }
  return wrk.format(method, path, headers, method == "POST" and body or nil)
end

local function field(answer, name) return answer:match('"' .. name .. '":"([^"]*)"') end

local function strange(status, answer)
  if unexpected == "" then unexpected = step .. " " .. status .. " " .. answer end
  next_buyer()
end

local steps = {}

function steps.hold(status, answer)
  if status == 409 then
    refused = refused + 1
    return next_buyer()
  end
  if status ~= 201 then return strange(status, answer) end
  step, path, body = "order", "/api/orders", '{"hold_id":"' .. field(answer, "hold_id") .. '"}'
end

function steps.order(status, answer)
  if status ~= 201 then return strange(status, answer) end
  step, path = "pay", "/api/payments"
  body = '{"order_id":"' .. field(answer, "order_id") .. '","method":"points"}'
end

function steps.pay(status, answer)
  if status ~= 202 then return strange(status, answer) end
  step, path = "ask", "/api/payments/" .. field(answer, "request_id") .. "/status"
  wait = ASK_AGAIN_MS
end

function steps.ask(status, answer)
  if status ~= 200 then return strange(status, answer) end
  asked = asked + 1
  -- The tickets in the answer have a status of their own, after this one.
  local is = field(answer, "status")
  if is == "PENDING" then
    wait = ASK_AGAIN_MS
    return
  end
  if is == "COMPLETED" then paid = paid + 1 else failed = failed + 1 end
  next_buyer()
end

function steps.over() end

function response(status, _, answer)
  -- Too much at once: the same request again.
  if status == 503 then
    wait = ASK_AGAIN_MS * 20
    return
  end
  steps[step](status, answer)
end

function done()
  local first, last = math.huge, 0
  local sum = { paid = 0, refused = 0, failed = 0, asked = 0 }
  local strange = ""
  for _, thread in ipairs(threads) do
    for name in pairs(sum) do sum[name] = sum[name] + thread:get(name) end
    if strange == "" then strange = thread:get("unexpected") end
    first, last = math.min(first, thread:get("began")), math.max(last, thread:get("ended"))
  end
  print(string.format('SALES {"paid":%d,"refused":%d,"failed":%d,"asked":%d,"seconds":%.3f,"unexpected":%q}',
    sum.paid, sum.refused, sum.failed, sum.asked, last - first, strange))
end
