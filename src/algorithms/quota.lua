-- Computes the same numbers as quota.ts. Lua has no time zones, so the caller sends limit.borders: the start of its
-- window, the end of that window, and the end of the next. For a time outside of them, the script answers OUTSIDE, and
-- the caller sends others.
return windowAlgorithm(function(moment, limit)
  local borders = limit.borders
  -- Units used before the caller's window do not count in it, so the exact end of their window does not matter.
  if isMigrating and moment < borders[1] then return borders[1] end
  if isMigrating and moment >= borders[3] then return moment + 1 end
  if moment < borders[1] or moment >= borders[3] then outsideBorders = true end
  return moment < borders[2] and borders[2] or borders[3]
end)
