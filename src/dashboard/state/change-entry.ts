import { RequestError, request } from '../api/request.ts'
import type { Entry, EntryList } from '../api/types.ts'
import { showUndoableChange } from './notice.ts'
import { reAddEntryBody } from './re-add-entry-body.ts'

/** Adds an entry, or replaces the one of this id, and offers to undo it. Rejects with RequestError. */
export async function putEntry(
  list: EntryList,
  id: string,
  body: object,
  { isReplaced, text }: { readonly isReplaced: boolean; readonly text: string },
): Promise<void> {
  const before = isReplaced ? await findEntry(list, id) : undefined
  await request('PUT', pathOf(list, id), { body })
  showUndoableChange(text, () => restore(list, id, before))
}

/** Removes an entry, and offers to undo it. Rejects with RequestError. */
export async function removeEntry(list: EntryList, id: string, reason: string, text: string): Promise<void> {
  const before = await findEntry(list, id)
  await remove(list, id, reason)
  showUndoableChange(text, () => restore(list, id, before))
}

/** Brings back the entry as it was before a change; none if there was none. */
async function restore(list: EntryList, id: string, before: Entry | undefined): Promise<void> {
  const body = before && reAddEntryBody(list, before, Date.now())
  if (body === undefined) await remove(list, id, 'undo')
  else await request('PUT', pathOf(list, id), { body })
}

/** Removing an entry that has expired meanwhile is no error. */
async function remove(list: EntryList, id: string, reason: string): Promise<void> {
  await orUndefined(request('DELETE', `${pathOf(list, id)}?reason=${encodeURIComponent(reason)}`))
}

function findEntry(list: EntryList, id: string): Promise<Entry | undefined> {
  return orUndefined(request<Entry>('GET', pathOf(list, id)))
}

/** Returns undefined if the server has no such resource. */
async function orUndefined<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof RequestError && error.status === 404) return undefined
    throw error
  }
}

function pathOf(list: EntryList, id: string): string {
  return `${list}/${encodeURIComponent(id)}`
}
