-- Computes the same numbers as sliding-log.ts. Cells: last charge, grains used, and the entries (time, grains) as a
-- string in the stored format. Why: a charge reads only the oldest and newest entries, so the others are not decoded.
local ENTRY = 16

local function newest(entries)
  return (struct.unpack('<d', entries, #entries - ENTRY + 1))
end

-- Returns the position of the first entry that is still in the window, and the grains of the expired ones before it.
local function skipExpired(entries, moment, periodMs)
  local at, gone = 1, 0
  while at <= #entries do
    local time, grains = struct.unpack('<dd', entries, at)
    if time > moment - periodMs then break end
    gone = gone + grains
    at = at + ENTRY
  end
  return at, gone
end

local function freeAt(entries, at, needed, periodMs)
  local freed = 0
  while true do
    local time, grains = struct.unpack('<dd', entries, at)
    freed = freed + grains
    if freed >= needed then return time + periodMs end
    at = at + ENTRY
  end
end

return {
  initialize = function()
    return {0, 0, ''}, false
  end,

  pack = function(header, cells)
    return pack('<c0ddc0', header, cells[1], cells[2], cells[3])
  end,

  unpack = function(value, at)
    local last, used = struct.unpack('<dd', value, at)
    return {last, used, sub(value, at + ENTRY)}
  end,

  probe = function(cells, now, grains, limit)
    local moment, entries, periodMs = max(now, cells[1]), cells[3], limit.periodMs
    local at, gone = skipExpired(entries, moment, periodMs)
    local used = cells[2] - gone
    local after = used + grains
    local allowed = after <= limit.countGrains
    local remaining = max(0, floor((limit.countGrains - (allowed and after or used)) / limit.scale))
    local resetMs = used > 0 and newest(entries) + periodMs - moment or 0
    if allowed then return true, remaining, 0, grains > 0 and periodMs or resetMs end
    if grains > limit.countGrains then return false, remaining, huge, resetMs end
    return false, remaining, freeAt(entries, at, after - limit.countGrains, periodMs) - moment, resetMs
  end,

  charge = function(cells, now, grains, limit)
    local moment = max(now, cells[1])
    local at, gone = skipExpired(cells[3], moment, limit.periodMs)
    local entries = at > 1 and sub(cells[3], at) or cells[3]
    cells[1], cells[2], cells[3] = moment, cells[2] - gone, entries
    if grains == 0 then return end
    local held = 0
    if #entries > 0 and newest(entries) == moment then
      held = (struct.unpack('<d', entries, #entries - 7))
      entries = sub(entries, 1, -ENTRY - 1)
    end
    cells[2], cells[3] = cells[2] + grains, entries .. pack('<dd', moment, held + grains)
  end,

  refund = function(cells, now, grains)
    local left, entries = min(grains, cells[2]), cells[3]
    cells[2] = cells[2] - left
    while left > 0 do
      local time, held = struct.unpack('<dd', entries, #entries - ENTRY + 1)
      local given = min(left, held)
      entries = sub(entries, 1, -ENTRY - 1)
      if held > given then entries = entries .. pack('<dd', time, held - given) end
      left = left - given
    end
    cells[3] = entries
  end,

  migrate = function(cells, since, old, limit)
    local at, gone = skipExpired(cells[3], max(since, cells[1]), old.periodMs)
    local entries = sub(cells[3], at)
    cells[2], cells[3] = cells[2] - gone, entries
    if old.scale == limit.scale then return end
    -- Rounds the sum of all entries from each time on, instead of each entry. Why: errors would add up.
    local exact, rounded, parts = 0, 0, {}
    for index = #entries - ENTRY + 1, 1, -ENTRY do
      local time, grains = struct.unpack('<dd', entries, index)
      exact = exact + grains
      local sum = rescale(exact, limit.scale, old.scale)
      parts[#parts + 1] = {time, sum - rounded}
      rounded = sum
    end
    entries = ''
    for index = #parts, 1, -1 do entries = entries .. pack('<dd', parts[index][1], parts[index][2]) end
    cells[2], cells[3] = rounded, entries
  end,

  usedGrains = function(cells, now, limit)
    local _, gone = skipExpired(cells[3], max(now, cells[1]), limit.periodMs)
    return cells[2] - gone
  end,

  setUsed = function(now, grains)
    return {now, grains, grains > 0 and pack('<dd', now, grains) or ''}
  end,

  fullAtMs = function(cells, limit)
    return #cells[3] > 0 and newest(cells[3]) + limit.periodMs or cells[1]
  end,
}
