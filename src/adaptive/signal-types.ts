/** Load of this process, its machine or a system behind it. */
export interface Signal {
  readonly name: string
  /** Value of a load of 100 %. Default: 1. */
  readonly full?: number | undefined
  /** Returns the current value; undefined if it is unknown. May throw; the signal is then left out. */
  read(nowMs: number): number | undefined
  /** Releases its resources. */
  close?: (() => void) | undefined
}
