-- Who was silent for long.

-- Pages and lookups in the line of one call, at most.
local PAGES_A_CALL, LOOKED = 250, 4 * SWEEP

-- The slices that ended before an instant, by end, then number; those of some pages.
local function slices_before(instant)
  local due = {}
  for _, name in ipairs(call('ZRANGEBYSCORE', PAGES, '-inf', instant, 'LIMIT', 0, PAGES_A_CALL)) do
    local index = tonumber(name)
    for ends in pairs(page_at(index).slices) do
      if ends <= instant then due[#due + 1] = { ends = ends, index = index } end
    end
  end
  table.sort(due, function(a, b) return a.ends < b.ends or a.ends == b.ends and a.index < b.index end)
  return due
end

-- Those heard in a page's slice and in none after it, as words.
local function last_heard(page, ends)
  local last, left = words_at(page, ends), WORDS
  for other, slice in pairs(page.slices) do
    if other > ends and left > 0 then
      slice, left = words(slice), 0
      for i = 1, WORDS do
        if last[i] ~= 0 then
          last[i] = bit.band(last[i], bit.bnot(slice[i]))
          left = left + 1
        end
      end
    end
  end
  return last
end

-- Everybody in a slice who still waits is added to `silent`; false when that is all
-- that one call may do. Then the slice keeps the others.
local function look_through(last, first, silent)
  for i = 1, WORDS do
    for b = 0, last[i] ~= 0 and WORD - 1 or -1 do
      local mask = bit.lshift(1, b)
      if bit.band(last[i], mask) ~= 0 then
        if #silent.visitors == SWEEP or silent.looked == LOOKED then return false end
        local number = text(first + (i - 1) * WORD + b)
        local visitor = call('ZRANGEBYSCORE', WAITING, number, number)[1]
        silent.looked = silent.looked + 1
        if visitor then
          silent.visitors[#silent.visitors + 1] = visitor
          silent.numbers[#silent.numbers + 1] = number
        end
        last[i] = bit.bxor(last[i], mask)
      end
    end
  end
  return true
end

local function evict(visitors, numbers)
  local at, again = {}, {}
  for i = 1, #visitors do at[i], again[i] = now, '0' end
  finish(visitors, numbers, 'e', at, again)
  add('evicted', #visitors)
  append(numbers, {})
  call('ZREM', WAITING, unpack(visitors))
end

-- Evicts those whose last slice ended before an instant; at most SWEEP.
local function evict_silent(instant)
  local silent = { visitors = {}, numbers = {}, looked = 0 }
  local front = tonumber(call('ZRANGE', WAITING, 0, 0, 'WITHSCORES')[2] or count('next'))
  for _, due in ipairs(slices_before(instant)) do
    local page, first = page_at(due.index), due.index * PAGE
    -- Nobody waits before the front.
    local is_over = first + PAGE <= front
    if not is_over and not look_through(last_heard(page, due.ends), first, silent) then break end
    page.slices[due.ends] = nil
  end
  for i = 1, #silent.visitors, CHUNK do
    local upto = math.min(i + CHUNK - 1, #silent.visitors)
    evict({ unpack(silent.visitors, i, upto) }, { unpack(silent.numbers, i, upto) })
  end
  keep_signs()
end

-- A line of an older version has its signs of life in SEEN, each number by itself.
-- They count as heard now; at most SWEEP.
local function take_over_signs()
  local numbers = call('ZRANGE', SEEN, 0, SWEEP - 1)
  if #numbers == 0 then return end
  for _, number in ipairs(numbers) do hear_now(tonumber(number)) end
  keep_signs()
  call('ZREMRANGEBYRANK', SEEN, 0, #numbers - 1)
end
