-- The twin of quota.ts. Lua knows no time zones: limit.borders are the start of the caller's window, its end, and the
-- end of the next. A moment outside of them is answered with them all anew.
return windowTwin(function(moment, limit)
  local borders = limit.borders
  if moment < borders[1] or moment >= borders[3] then outsideBorders = true end
  return moment < borders[2] and borders[2] or borders[3]
end)
