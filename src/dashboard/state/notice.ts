import { signal } from '@preact/signals'
import { changeCount } from './live.ts'

/** Report of the last change, shown until it is closed or replaced. */
export interface Notice {
  readonly text: string
  readonly isError: boolean
  readonly undo?: (() => Promise<void>) | undefined
}

export const notice = signal<Notice | undefined>(undefined)

/** Reports a change that was made, and offers to undo it. */
export function showUndoableChange(text: string, restore: () => Promise<unknown>): void {
  const undo = async (): Promise<void> => {
    try {
      await restore()
      show({ text: `Undone: ${text}`, isError: false })
    } catch (error) {
      show({ text: `Not undone: ${(error as Error).message}`, isError: true })
    }
  }
  show({ text, isError: false, undo })
}

function show(shown: Notice): void {
  notice.value = shown
  // The event of the change arrives later; while the page is paused, never.
  changeCount.value++
}
