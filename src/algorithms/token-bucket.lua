-- Computes the same numbers as token-bucket.ts. Cells: last charge, deficit in steps. Allowed charges are rounded with %
-- instead of floor and ceil. Why: a call of these functions costs more than all other arithmetic of a charge.
local function deficitAt(cells, now, limit)
  local last, deficit = cells[1], cells[2]
  if now <= last then return deficit end
  local left = deficit - (now - last) * limit.stepsPerMs
  if left > 0 then return left end
  return 0
end

return {
  format = '<dd',
  packing = '<c0dd',

  initialize = function(now, limit)
    if limit.initialGrains == limit.capacityGrains then return {0, 0}, false end
    return {now, (limit.capacityGrains - limit.initialGrains) * limit.stepsPerGrain}, true
  end,

  probe = function(cells, now, grains, limit)
    local deficit = deficitAt(cells, now, limit)
    local after = deficit + grains * limit.stepsPerGrain
    local free = limit.capacitySteps - after
    local unitSteps = limit.stepsPerGrain * limit.scale
    if free >= 0 then
      local units, ms = free / unitSteps, after / limit.stepsPerMs
      local part = ms % 1
      return true, units - units % 1, 0, part > 0 and ms - part + 1 or ms
    end
    local left = grains <= limit.scale and 0 or limit.capacitySteps - deficit
    local remaining = left > 0 and floor(left / unitSteps) or 0
    local retryAfterMs = grains > limit.capacityGrains and huge or ceil(-free / limit.stepsPerMs)
    return false, remaining, retryAfterMs, ceil(deficit / limit.stepsPerMs)
  end,

  charge = function(cells, now, grains, limit)
    local deficit = deficitAt(cells, now, limit)
    if now > cells[1] then cells[1] = now end
    cells[2] = deficit + grains * limit.stepsPerGrain
  end,

  refund = function(cells, now, grains, limit)
    cells[2] = max(0, cells[2] - grains * limit.stepsPerGrain)
  end,

  migrate = function(cells, since, old, limit)
    local moment = max(since, cells[1])
    local deficit = deficitAt(cells, moment, old)
    cells[1], cells[2] = moment, rescale(deficit, limit.stepsPerGrain * limit.scale, old.stepsPerGrain * old.scale)
  end,

  usedGrains = function(cells, now, limit)
    return ceil(deficitAt(cells, now, limit) / limit.stepsPerGrain)
  end,

  setUsed = function(now, grains, limit)
    return {now, grains * limit.stepsPerGrain}
  end,

  fullAtMs = function(cells, limit)
    local ms = cells[2] / limit.stepsPerMs
    local part = ms % 1
    return cells[1] + (part > 0 and ms - part + 1 or ms)
  end,
}
