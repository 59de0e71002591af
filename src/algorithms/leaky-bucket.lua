-- The twin of leaky-bucket.ts, number by number. Cells: last charge, next free moment.
local function gapMs(grains, limit)
  return ceil((grains * limit.periodMs) / limit.countGrains)
end

return {
  format = '<dd',
  packing = '<c0dd',

  begin = function()
    return {0, 0}, false
  end,

  probe = function(cells, now, grains, limit)
    local waitMs = cells[2] - max(now, cells[1])
    if waitMs > 0 then return false, 0, waitMs, waitMs end
    return true, grains == 0 and 1 or 0, 0, gapMs(grains, limit)
  end,

  take = function(cells, now, grains, limit)
    local moment = max(now, cells[1])
    cells[1] = moment
    cells[2] = moment + gapMs(grains, limit)
  end,

  refund = function(cells, now, grains, limit)
    cells[2] = max(cells[1], cells[2] - gapMs(grains, limit))
  end,

  spent = function(cells, now, limit)
    local waitMs = max(0, cells[2] - max(now, cells[1]))
    return ceil((waitMs * limit.countGrains) / limit.periodMs)
  end,

  seed = function(now, grains, limit)
    return {now, now + gapMs(grains, limit)}
  end,

  wholeAt = function(cells)
    return cells[2]
  end,
}
