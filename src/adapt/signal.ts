/** Something that tells how loaded this process, its machine or what lies behind it is. */
export interface Signal {
  readonly name: string
  /** The value that counts as a load of 100 %. Default: 1. */
  readonly full?: number | undefined
  /** What is found now; undefined where nothing can be said yet. May throw: it is then left out. */
  read(nowMs: number): number | undefined
  /** Ends what it measures with. */
  close?(): void
}
