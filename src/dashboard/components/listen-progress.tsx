import { useEffect, useState } from 'preact/hooks'
import { formatDuration } from '../format/format.ts'

/** Shows how long it still listens. The answer comes a moment after that. */
export function ListenProgress({ seconds }: { readonly seconds: number }) {
  const [startMs] = useState(Date.now)
  const [nowMs, setNowMs] = useState(startMs)
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), 500)
    return () => clearInterval(timer)
  }, [])
  const leftMs = 1_000 * seconds - (nowMs - startMs)
  return (
    <label>
      {leftMs > 0 ? `Listening, ${formatDuration(leftMs)} left` : 'Fitting limits'}
      <progress max={1_000 * seconds} value={nowMs - startMs} />
    </label>
  )
}
