-- Computes the same numbers as leaky-bucket.ts. Cells: last charge, debt in steps.
local function debtAt(cells, now, limit)
  if now <= cells[1] then return cells[2] end
  return max(0, cells[2] - (now - cells[1]) * limit.stepsPerMs)
end

return {
  format = '<dd',
  packing = '<c0dd',

  initialize = function()
    return {0, 0}, false
  end,

  probe = function(cells, now, grains, limit)
    local debt, stepsPerMs = debtAt(cells, now, limit), limit.stepsPerMs
    if debt >= stepsPerMs and grains > 0 then
      return false, 0, floor(debt / stepsPerMs), ceil(debt / stepsPerMs)
    end
    local after = debt + grains * limit.stepsPerGrain
    return true, after < stepsPerMs and 1 or 0, 0, ceil(after / stepsPerMs)
  end,

  charge = function(cells, now, grains, limit)
    local debt = debtAt(cells, now, limit)
    if now > cells[1] then cells[1] = now end
    cells[2] = debt + grains * limit.stepsPerGrain
  end,

  refund = function(cells, now, grains, limit)
    local debt = cells[2] - grains * limit.stepsPerGrain
    cells[2] = debt > 0 and debt or 0
  end,

  migrate = function(cells, since, old, limit)
    local moment = max(since, cells[1])
    local debt = debtAt(cells, moment, old)
    cells[1], cells[2] = moment, rescale(debt, limit.stepsPerGrain * limit.scale, old.stepsPerGrain * old.scale)
  end,

  usedGrains = function(cells, now, limit)
    return ceil(debtAt(cells, now, limit) / limit.stepsPerGrain)
  end,

  setUsed = function(now, grains, limit)
    return {now, grains * limit.stepsPerGrain}
  end,

  fullAtMs = function(cells, limit)
    return cells[1] + ceil(cells[2] / limit.stepsPerMs)
  end,
}
