-- Computes the same numbers as sliding-counter.ts. Cells: last charge, grains used in its window, grains used in the
-- window before.
local function turnTo(cells, moment, periodMs)
  local windows = floor(moment / periodMs) - floor(cells[1] / periodMs)
  if windows == 0 then return cells[2], cells[3] end
  return 0, windows == 1 and cells[2] or 0
end

local function elapsedUntilFree(used, free, periodMs)
  if used == 0 then return 0 end
  return max(0, periodMs - floor((free * periodMs) / used))
end

local function retryAfterMs(current, previous, grains, elapsed, limit)
  if grains > limit.countGrains then return huge end
  local periodMs = limit.periodMs
  local free = limit.countGrains - grains
  if current <= free then return elapsedUntilFree(previous, free - current, periodMs) - elapsed end
  return periodMs - elapsed + elapsedUntilFree(current, free, periodMs)
end

local function resetMs(current, previous, elapsed, periodMs)
  if current > 0 then return 2 * periodMs - elapsed end
  return previous > 0 and periodMs - elapsed or 0
end

return {
  format = '<ddd',
  packing = '<c0ddd',

  initialize = function()
    return {0, 0, 0}, false
  end,

  probe = function(cells, now, grains, limit)
    local periodMs = limit.periodMs
    local moment = max(now, cells[1])
    local current, previous = turnTo(cells, moment, periodMs)
    local elapsed = moment % periodMs
    local free = (limit.countGrains - current) * periodMs - previous * (periodMs - elapsed)
    local left = free - grains * periodMs
    local unit = periodMs * limit.scale
    if left >= 0 then
      return true, max(0, floor(left / unit)), 0, resetMs(current + grains, previous, elapsed, periodMs)
    end
    local wait = retryAfterMs(current, previous, grains, elapsed, limit)
    return false, max(0, floor(free / unit)), wait, resetMs(current, previous, elapsed, periodMs)
  end,

  charge = function(cells, now, grains, limit)
    local moment = max(now, cells[1])
    local current, previous = turnTo(cells, moment, limit.periodMs)
    cells[1], cells[2], cells[3] = moment, current + grains, previous
  end,

  refund = function(cells, now, grains)
    local own = min(cells[2], grains)
    cells[2] = cells[2] - own
    cells[3] = max(0, cells[3] - (grains - own))
  end,

  migrate = function(cells, since, old, limit)
    if old.periodMs ~= limit.periodMs then
      local moment = max(since, cells[1])
      local current, previous = turnTo(cells, moment, old.periodMs)
      current = current + ceil(previous * (old.periodMs - moment % old.periodMs) / old.periodMs)
      cells[1], cells[2], cells[3] = moment, current, 0
    end
    cells[2], cells[3] = rescale(cells[2], limit.scale, old.scale), rescale(cells[3], limit.scale, old.scale)
  end,

  usedGrains = function(cells, now, limit)
    local moment = max(now, cells[1])
    local current, previous = turnTo(cells, moment, limit.periodMs)
    return current + ceil(previous * (limit.periodMs - moment % limit.periodMs) / limit.periodMs)
  end,

  setUsed = function(now, grains)
    return {now, grains, 0}
  end,

  fullAtMs = function(cells, limit)
    return cells[1] + resetMs(cells[2], cells[3], cells[1] % limit.periodMs, limit.periodMs)
  end,
}
