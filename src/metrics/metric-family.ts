export type Labels = Readonly<Record<string, string>>

export interface MetricSample {
  readonly labels: Labels
  readonly value: number
}

/** Samples of one metric name; a histogram holds its buckets, sum and count. */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly samples: readonly MetricSample[]
  readonly histogram?:
    | {
        readonly bounds: readonly number[]
        readonly counts: readonly number[]
        readonly sum: number
      }
    | undefined
}

/** Returns a family with one sample without labels; without samples if its value is unknown. */
export function singleValue(
  name: string,
  help: string,
  type: 'counter' | 'gauge',
  value: number | undefined,
): MetricFamily {
  return { name, help, type, samples: value === undefined ? [] : [{ labels: {}, value }] }
}
