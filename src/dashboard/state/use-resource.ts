import { effect } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import { request } from '../api/request.ts'
import { isActive } from './activity.ts'
import { changeCount } from './live.ts'

/** A resource of the admin API as it was read last. */
export interface Resource<T> {
  readonly data?: T | undefined
  /** Why the last attempt failed. */
  readonly error?: string | undefined
}

/**
 * Reads a resource, then again every `everyMs` and after each change that an event reports, while the page is active.
 * Without a path nothing is read.
 */
export function useResource<T>(path: string | undefined, everyMs: number): Resource<T> {
  const [resource, setResource] = useState<Resource<T>>({})
  useEffect(() => {
    if (path === undefined) return
    let timer: ReturnType<typeof setTimeout> | undefined
    let reading = new AbortController()
    const read = async (): Promise<void> => {
      clearTimeout(timer)
      reading.abort()
      reading = new AbortController()
      const { signal } = reading
      try {
        const data = await request<T>('GET', path, { signal })
        if (!signal.aborted) setResource({ data })
      } catch (error) {
        if (signal.aborted) return
        setResource(({ data }) => ({ data, error: (error as Error).message }))
      }
      if (!signal.aborted && isActive.peek()) timer = setTimeout(read, everyMs)
    }
    let isFirst = true
    const stop = effect(() => {
      changeCount.value
      if (isActive.value || isFirst) void read()
      isFirst = false
    })
    return () => {
      stop()
      clearTimeout(timer)
      reading.abort()
    }
  }, [path, everyMs])
  return resource
}
