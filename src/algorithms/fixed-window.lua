-- The twin of fixed-window.ts.
return windowTwin(function(moment, limit)
  return moment - moment % limit.periodMs + limit.periodMs
end)
