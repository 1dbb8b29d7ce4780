-- Signs of life, kept by slices of time of one heartbeat interval: whoever was heard
-- in a slice counts as heard until its end; see domain::line::silence.
-- HEARD has a field for each 512 numbers: a record for each slice in which one of
-- them was heard, of its end in ms (6 bytes) and a bit a number (64 bytes, the lowest
-- bit of the first byte first). PAGES has these fields by the end of the first slice
-- in them. Whoever waits has a bit somewhere; others may.

local PAGE, RECORD = 512, 70
local WORDS, WORD = 16, 32
local PACKED = '<' .. ('I4'):rep(WORDS)

-- The fields that this call reads: their slices by end, each as its record or, when
-- it may have changed, as words.
local pages = {}

local function page_at(index)
  if pages[index] then return pages[index] end
  local page = { slices = {} }
  local kept = call('HGET', HEARD, sign(index)) or ''
  for i = 1, #kept, RECORD do
    local ends = struct.unpack('>I6', kept, i)
    page.slices[ends] = kept:sub(i, i + RECORD - 1)
    page.first = math.min(page.first or ends, ends)
  end
  pages[index] = page
  return page
end

local function record(ends, bits) return struct.pack('>I6', ends) .. bits end

-- Words to be read of a slice, and such that may be changed.
local function words(slice)
  return type(slice) == 'table' and slice or { struct.unpack(PACKED, slice, RECORD - 4 * WORDS + 1) }
end

local function words_at(page, ends)
  local found = words(page.slices[ends] or record(ends, ('\0'):rep(4 * WORDS)))
  page.slices[ends] = found
  return found
end

-- The end of the slice that an instant is in. `heard_upto` is the last of all: after
-- a change of settings a longer slice goes on until then.
local function slice_end(at)
  local long = math.max(1, math.floor(limit('idle_ms') / 6))
  local ends = (math.floor(at / long) + 1) * long
  if ends > count('heard_upto') then put('heard_upto', text(ends)) end
  return ends
end

-- All of a page's numbers whose bits are set were heard at an instant.
local function hear(index, at, bits)
  local page, ends = page_at(index), slice_end(at)
  local heard = record(ends, bits)
  if page.slices[ends] then
    local kept, more = words_at(page, ends), words(heard)
    for i = 1, WORDS do kept[i] = bit.bor(kept[i], more[i]) end
  else
    page.slices[ends] = heard
  end
end

local under_way

-- A number waits from now on, or is heard directly.
local function hear_now(number)
  under_way = under_way or math.max(slice_end(now), count('heard_upto'))
  local kept = words_at(page_at(math.floor(number / PAGE)), under_way)
  local i = math.floor(number % PAGE / WORD) + 1
  kept[i] = bit.bor(kept[i], bit.lshift(1, number % WORD))
end

-- Writes what was heard. Every operation that hears somebody ends with it.
local function keep_signs()
  for index, page in pairs(pages) do
    local name, records, first = sign(index), {}, nil
    for ends, slice in pairs(page.slices) do
      if type(slice) == 'table' then slice = record(ends, struct.pack(PACKED, unpack(slice, 1, WORDS))) end
      records[#records + 1] = slice
      first = math.min(first or ends, ends)
    end
    if first then
      call('HSET', HEARD, name, table.concat(records))
      if first ~= page.first then call('ZADD', PAGES, first, name) end
    else
      call('HDEL', HEARD, name)
      call('ZREM', PAGES, name)
    end
  end
  pages = {}
end
